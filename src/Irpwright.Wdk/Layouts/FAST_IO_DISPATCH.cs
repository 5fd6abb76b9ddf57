using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Entry points that bypass IRPs.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_fast_io_dispatch"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FAST_IO_DISPATCH
{
    public const int SizeOf = 0xE0;

    [FieldOffset(0x00)] public uint SizeOfFastIoDispatch;
    [FieldOffset(0x08)] public PVOID FastIoCheckIfPossible;
    [FieldOffset(0x10)] public PFAST_IO_READ FastIoRead;
    [FieldOffset(0x18)] public PFAST_IO_WRITE FastIoWrite;
    [FieldOffset(0x20)] public PVOID FastIoQueryBasicInfo;
    [FieldOffset(0x28)] public PVOID FastIoQueryStandardInfo;
    [FieldOffset(0x30)] public PVOID FastIoLock;
    [FieldOffset(0x38)] public PVOID FastIoUnlockSingle;
    [FieldOffset(0x40)] public PVOID FastIoUnlockAll;
    [FieldOffset(0x48)] public PVOID FastIoUnlockAllByKey;
    [FieldOffset(0x50)] public PFAST_IO_DEVICE_CONTROL FastIoDeviceControl;
    [FieldOffset(0x58)] public PVOID AcquireFileForNtCreateSection;
    [FieldOffset(0x60)] public PVOID ReleaseFileForNtCreateSection;
    [FieldOffset(0x68)] public PFAST_IO_DETACH_DEVICE FastIoDetachDevice;
    [FieldOffset(0x70)] public PVOID FastIoQueryNetworkOpenInfo;
    [FieldOffset(0x78)] public PVOID AcquireForModWrite;
    [FieldOffset(0x80)] public PVOID MdlRead;
    [FieldOffset(0x88)] public PVOID MdlReadComplete;
    [FieldOffset(0x90)] public PVOID PrepareMdlWrite;
    [FieldOffset(0x98)] public PVOID MdlWriteComplete;
    [FieldOffset(0xA0)] public PVOID FastIoReadCompressed;
    [FieldOffset(0xA8)] public PVOID FastIoWriteCompressed;
    [FieldOffset(0xB0)] public PVOID MdlReadCompleteCompressed;
    [FieldOffset(0xB8)] public PVOID MdlWriteCompleteCompressed;
    [FieldOffset(0xC0)] public PVOID FastIoQueryOpen;
    [FieldOffset(0xC8)] public PVOID ReleaseForModWrite;
    [FieldOffset(0xD0)] public PVOID AcquireForCcFlush;
    [FieldOffset(0xD8)] public PVOID ReleaseForCcFlush;
}
