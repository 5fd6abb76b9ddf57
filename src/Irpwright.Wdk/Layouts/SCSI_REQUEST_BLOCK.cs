using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A request to a storage port or class driver (IRP_MJ_SCSI).</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/srb/ns-srb-_scsi_request_block"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SCSI_REQUEST_BLOCK
{
    public const int SizeOf = 0x58;

    [FieldOffset(0x00)] public ushort Length;
    [FieldOffset(0x02)] public byte Function;
    [FieldOffset(0x03)] public byte SrbStatus;
    [FieldOffset(0x04)] public byte ScsiStatus;
    [FieldOffset(0x05)] public byte PathId;
    [FieldOffset(0x06)] public byte TargetId;
    [FieldOffset(0x07)] public byte Lun;
    [FieldOffset(0x08)] public byte QueueTag;
    [FieldOffset(0x09)] public byte QueueAction;
    [FieldOffset(0x0A)] public byte CdbLength;
    [FieldOffset(0x0B)] public byte SenseInfoBufferLength;
    [FieldOffset(0x0C)] public uint SrbFlags;
    [FieldOffset(0x10)] public uint DataTransferLength;
    [FieldOffset(0x14)] public uint TimeOutValue; // seconds
    [FieldOffset(0x18)] public PVOID DataBuffer;
    [FieldOffset(0x20)] public PVOID SenseInfoBuffer;
    [FieldOffset(0x28)] public PSCSI_REQUEST_BLOCK NextSrb;
    [FieldOffset(0x30)] public PVOID OriginalRequest;
    [FieldOffset(0x38)] public PVOID SrbExtension;
    [FieldOffset(0x40)] public uint InternalStatus;
    [FieldOffset(0x40)] public uint QueueSortKey;
    [FieldOffset(0x40)] public uint LinkTimeoutValue;
    [FieldOffset(0x48)] public CdbArray Cdb;

    [InlineArray(16)]
    public struct CdbArray
    {
        byte element;
    }
}
