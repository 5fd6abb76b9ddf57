using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The rest of a driver object. Opaque to drivers from 0x28 on.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_driver_extension"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVER_EXTENSION
{
    public const int SizeOf = 0x50;

    [FieldOffset(0x00)] public PDRIVER_OBJECT DriverObject;
    [FieldOffset(0x08)] public PDRIVER_ADD_DEVICE AddDevice;
    [FieldOffset(0x10)] public uint Count; // calls of the driver's reinitialization routine
    [FieldOffset(0x18)] public UNICODE_STRING ServiceKeyName;
    [FieldOffset(0x28)] public PVOID ClientDriverExtension;
    [FieldOffset(0x30)] public PVOID FsFilterCallbacks;
    [FieldOffset(0x38)] public PVOID KseCallbacks;
    [FieldOffset(0x40)] public PVOID DvCallbacks;
    [FieldOffset(0x48)] public PVOID VerifierContext;
}
