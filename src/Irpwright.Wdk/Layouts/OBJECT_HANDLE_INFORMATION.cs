using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What a handle was opened with.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-obreferenceobjectbyhandle"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct OBJECT_HANDLE_INFORMATION
{
    public const int SizeOf = 0x08;

    [FieldOffset(0x00)] public OBJ_FLAGS HandleAttributes;
    [FieldOffset(0x04)] public uint GrantedAccess;
}
