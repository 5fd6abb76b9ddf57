using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Item of a system worker queue; ExInitializeWorkItem is a macro that writes all three fields.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct WORK_QUEUE_ITEM
{
    public const int SizeOf = 0x20;

    [FieldOffset(0x00)] public LIST_ENTRY List;
    [FieldOffset(0x10)] public PWORKER_THREAD_ROUTINE WorkerRoutine;
    [FieldOffset(0x18)] public PVOID Parameter;
}
