using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>A loaded driver and its entry points.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_driver_object"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVER_OBJECT
{
    public const int SizeOf = 0x150;

    [FieldOffset(0x000)] public short Type; // IO_TYPE_DRIVER
    [FieldOffset(0x002)] public short Size;
    [FieldOffset(0x008)] public PDEVICE_OBJECT DeviceObject; // first of the list linked by NextDevice
    [FieldOffset(0x010)] public DRVO_FLAGS Flags;
    [FieldOffset(0x018)] public PVOID DriverStart;
    [FieldOffset(0x020)] public uint DriverSize; // bytes of the image
    [FieldOffset(0x028)] public PVOID DriverSection; // KLDR_DATA_TABLE_ENTRY
    [FieldOffset(0x030)] public PDRIVER_EXTENSION DriverExtension;
    [FieldOffset(0x038)] public UNICODE_STRING DriverName;
    [FieldOffset(0x048)] public PUNICODE_STRING HardwareDatabase;
    [FieldOffset(0x050)] public PFAST_IO_DISPATCH FastIoDispatch;
    [FieldOffset(0x058)] public PDRIVER_INITIALIZE DriverInit;
    [FieldOffset(0x060)] public PDRIVER_STARTIO DriverStartIo;
    [FieldOffset(0x068)] public PDRIVER_UNLOAD DriverUnload;
    [FieldOffset(0x070)] public MajorFunctionArray MajorFunction; // by IRP_MJ_*

    [InlineArray(28)]
    public struct MajorFunctionArray
    {
        PDRIVER_DISPATCH element;
    }
}
