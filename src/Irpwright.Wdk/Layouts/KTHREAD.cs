using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A thread, also the start of ETHREAD. Opaque to drivers; defined here is what the kernel itself uses.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KTHREAD
{
    public const int SizeOf = 0x600;

    [FieldOffset(0x000)] public DISPATCHER_HEADER Header;
    [FieldOffset(0x098)] public KAPC_STATE ApcState;
    [FieldOffset(0x0C3)] public sbyte Priority;
    [FieldOffset(0x140)] public WaitBlockArray WaitBlock; // the fourth belongs to the timer of a wait with a limit
    [FieldOffset(0x1E4)] public short KernelApcDisable; // below 0: in critical regions, nested so many times
    [FieldOffset(0x1E6)] public short SpecialApcDisable; // below 0: in guarded regions
    [FieldOffset(0x1E4)] public uint CombinedApcDisable;
    [FieldOffset(0x220)] public PEPROCESS Process; // that the thread belongs to; ApcState tells which one it is attached to
    [FieldOffset(0x232)] public MODE PreviousMode;
    [FieldOffset(0x233)] public sbyte BasePriority;
    [FieldOffset(0x308)] public LIST_ENTRY MutantListHead; // of KMUTANT.MutantListEntry: mutexes that the thread owns

    [FieldOffset(0x478)] public CLIENT_ID Cid; // of ETHREAD

    [InlineArray(4)]
    public struct WaitBlockArray
    {
        KWAIT_BLOCK element;
    }
}
