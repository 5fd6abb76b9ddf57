using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The hardware resources a device needs: AlternativeLists lists from List on.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_io_resource_requirements_list"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct IO_RESOURCE_REQUIREMENTS_LIST
{
    public const int SizeOf = 0x48;

    [FieldOffset(0x00)] public uint ListSize; // bytes of the whole
    [FieldOffset(0x04)] public INTERFACE_TYPE InterfaceType;
    [FieldOffset(0x08)] public uint BusNumber;
    [FieldOffset(0x0C)] public uint SlotNumber;
    [FieldOffset(0x10)] public ReservedArray Reserved;
    [FieldOffset(0x1C)] public uint AlternativeLists;
    [FieldOffset(0x20)] public IO_RESOURCE_LIST List; // the first

    [InlineArray(3)]
    public struct ReservedArray
    {
        uint element;
    }
}
