using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>An entry of a device queue.</summary>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct KDEVICE_QUEUE_ENTRY
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public LIST_ENTRY DeviceListEntry;
    [FieldOffset(0x10)] public uint SortKey;
    [FieldOffset(0x14)] public BOOLEAN Inserted;
}
