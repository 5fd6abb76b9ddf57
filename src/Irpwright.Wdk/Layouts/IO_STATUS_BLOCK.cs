using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>How a request ended. Status and Pointer overlap: writing Status leaves bytes 4 to 7 as they were.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_status_block"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_STATUS_BLOCK
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public NTSTATUS Status;
    [FieldOffset(0x00)] public PVOID Pointer;
    [FieldOffset(0x08)] public ulong Information; // usually bytes transferred
}
