using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>RegNtPreCreateKeyEx and RegNtPreOpenKeyEx, from Windows 7 on.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_reg_create_key_information_v1"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct REG_CREATE_KEY_INFORMATION_V1
{
    public const int SizeOf = 0x88;

    [FieldOffset(0x00)] public PUNICODE_STRING CompleteName;
    [FieldOffset(0x08)] public PVOID RootObject;
    [FieldOffset(0x10)] public PVOID ObjectType;
    [FieldOffset(0x18)] public uint Options; // REG_OPTION_*
    [FieldOffset(0x20)] public PUNICODE_STRING Class;
    [FieldOffset(0x28)] public PVOID SecurityDescriptor;
    [FieldOffset(0x30)] public PVOID SecurityQualityOfService;
    [FieldOffset(0x38)] public uint DesiredAccess;
    [FieldOffset(0x3C)] public uint GrantedAccess;
    [FieldOffset(0x40)] public PULONG Disposition;
    [FieldOffset(0x48)] public PPVOID ResultObject;
    [FieldOffset(0x50)] public PVOID CallContext;
    [FieldOffset(0x58)] public PVOID RootObjectContext;
    [FieldOffset(0x60)] public PVOID Transaction;
    [FieldOffset(0x68)] public ulong Version; // 1
    [FieldOffset(0x70)] public PUNICODE_STRING RemainingName;
    [FieldOffset(0x78)] public uint Wow64Flags;
    [FieldOffset(0x7C)] public uint Attributes; // OBJ_*
    [FieldOffset(0x80)] public MODE CheckAccessMode;
}
