using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An open instance of a device.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_object"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_OBJECT
{
    public const int SizeOf = 0xD8;

    [FieldOffset(0x00)] public short Type; // IO_TYPE_FILE
    [FieldOffset(0x02)] public short Size;
    [FieldOffset(0x08)] public PDEVICE_OBJECT DeviceObject;
    [FieldOffset(0x10)] public PVPB Vpb;
    [FieldOffset(0x18)] public PVOID FsContext;
    [FieldOffset(0x20)] public PVOID FsContext2;
    [FieldOffset(0x28)] public PVOID SectionObjectPointer;
    [FieldOffset(0x30)] public PVOID PrivateCacheMap;
    [FieldOffset(0x38)] public NTSTATUS FinalStatus;
    [FieldOffset(0x40)] public PFILE_OBJECT RelatedFileObject;
    [FieldOffset(0x48)] public BOOLEAN LockOperation;
    [FieldOffset(0x49)] public BOOLEAN DeletePending;
    [FieldOffset(0x4A)] public BOOLEAN ReadAccess;
    [FieldOffset(0x4B)] public BOOLEAN WriteAccess;
    [FieldOffset(0x4C)] public BOOLEAN DeleteAccess;
    [FieldOffset(0x4D)] public BOOLEAN SharedRead;
    [FieldOffset(0x4E)] public BOOLEAN SharedWrite;
    [FieldOffset(0x4F)] public BOOLEAN SharedDelete;
    [FieldOffset(0x50)] public FO_FLAGS Flags;
    [FieldOffset(0x58)] public UNICODE_STRING FileName;
    [FieldOffset(0x68)] public long CurrentByteOffset;
    [FieldOffset(0x70)] public uint Waiters;
    [FieldOffset(0x74)] public uint Busy;
    [FieldOffset(0x78)] public PVOID LastLock;
    [FieldOffset(0x80)] public KEVENT Lock;
    [FieldOffset(0x98)] public KEVENT Event;
    [FieldOffset(0xB0)] public PIO_COMPLETION_CONTEXT CompletionContext;
    [FieldOffset(0xB8)] public KSPIN_LOCK IrpListLock;
    [FieldOffset(0xC0)] public LIST_ENTRY IrpList;
    [FieldOffset(0xD0)] public PVOID FileObjectExtension;
}
