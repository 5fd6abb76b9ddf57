using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Work item that keeps its device object or driver object loaded. Opaque to drivers: IoSizeofWorkItem tells its size.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_WORKITEM
{
    public const int SizeOf = 0x58;

    [FieldOffset(0x00)] public WORK_QUEUE_ITEM WorkItem;
    [FieldOffset(0x20)] public PVOID Routine; // IO_WORKITEM_ROUTINE, or IO_WORKITEM_ROUTINE_EX for IoQueueWorkItemEx
    [FieldOffset(0x28)] public PVOID IoObject; // DEVICE_OBJECT or DRIVER_OBJECT
    [FieldOffset(0x30)] public PVOID Context;
    [FieldOffset(0x38)] public PVOID WorkOnBehalf;
    [FieldOffset(0x40)] public uint Type;
    [FieldOffset(0x44)] public Guid ActivityId;
}
