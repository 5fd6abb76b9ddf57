using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An entry for the system event log (IoAllocateErrorLogEntry).</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_error_log_packet"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_ERROR_LOG_PACKET
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public byte MajorFunctionCode;
    [FieldOffset(0x01)] public byte RetryCount;
    [FieldOffset(0x02)] public ushort DumpDataSize; // bytes
    [FieldOffset(0x04)] public ushort NumberOfStrings;
    [FieldOffset(0x06)] public ushort StringOffset; // bytes from the start
    [FieldOffset(0x08)] public ushort EventCategory;
    [FieldOffset(0x0C)] public NTSTATUS ErrorCode;
    [FieldOffset(0x10)] public uint UniqueErrorValue;
    [FieldOffset(0x14)] public NTSTATUS FinalStatus;
    [FieldOffset(0x18)] public uint SequenceNumber;
    [FieldOffset(0x1C)] public uint IoControlCode;
    [FieldOffset(0x20)] public long DeviceOffset;
    [FieldOffset(0x28)] public uint DumpData; // the first
}
