using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Name and properties of an object to open or create.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdef/ns-ntdef-_object_attributes"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct OBJECT_ATTRIBUTES
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public uint Length; // bytes of this structure
    [FieldOffset(0x08)] public HANDLE RootDirectory;
    [FieldOffset(0x10)] public PUNICODE_STRING ObjectName;
    [FieldOffset(0x18)] public OBJ_FLAGS Attributes;
    [FieldOffset(0x20)] public PVOID SecurityDescriptor;
    [FieldOffset(0x28)] public PVOID SecurityQualityOfService;
}
