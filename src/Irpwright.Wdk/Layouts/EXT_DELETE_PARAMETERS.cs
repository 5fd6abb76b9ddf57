using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Further parameters of ExDeleteTimer; ExInitializeDeleteTimerParameters fills them in.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_ext_delete_parameters"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct EXT_DELETE_PARAMETERS
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public uint Version;
    [FieldOffset(0x04)] public uint Reserved;
    [FieldOffset(0x08)] public PEXT_DELETE_CALLBACK DeleteCallback;
    [FieldOffset(0x10)] public PVOID DeleteContext;
}
