using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What IoDisconnectInterruptEx is to disconnect.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_disconnect_interrupt_parameters"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_DISCONNECT_INTERRUPT_PARAMETERS
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint Version; // CONNECT_*
    [FieldOffset(0x08)] public ConnectionContextUnion ConnectionContext;

    [StructLayout(LayoutKind.Explicit, Size = 0x8)]
    public struct ConnectionContextUnion
    {
        [FieldOffset(0x00)] public PVOID Generic;
        [FieldOffset(0x00)] public PKINTERRUPT InterruptObject;
        [FieldOffset(0x00)] public PVOID InterruptMessageTable; // IO_INTERRUPT_MESSAGE_INFO
    }
}
