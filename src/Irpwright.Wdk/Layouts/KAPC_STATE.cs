using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What KeStackAttachProcess saves of a thread. Opaque to drivers.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntifs/nf-ntifs-kestackattachprocess"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KAPC_STATE
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public ApcListHeadArray ApcListHead;
    [FieldOffset(0x20)] public PEPROCESS Process;
    [FieldOffset(0x28)] public BOOLEAN KernelApcInProgress;
    [FieldOffset(0x29)] public BOOLEAN KernelApcPending;
    [FieldOffset(0x2A)] public BOOLEAN UserApcPending;

    [InlineArray(2)]
    public struct ApcListHeadArray
    {
        LIST_ENTRY element;
    }
}
