using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A device waiting for an adapter or controller.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct WAIT_CONTEXT_BLOCK
{
    public const int SizeOf = 0x48;

    [FieldOffset(0x00)] public KDEVICE_QUEUE_ENTRY WaitQueueEntry;
    [FieldOffset(0x18)] public PDRIVER_CONTROL DeviceRoutine;
    [FieldOffset(0x20)] public PVOID DeviceContext;
    [FieldOffset(0x28)] public uint NumberOfMapRegisters;
    [FieldOffset(0x30)] public PVOID DeviceObject;
    [FieldOffset(0x38)] public PVOID CurrentIrp;
    [FieldOffset(0x40)] public PKDPC BufferChainingDpc;
}
