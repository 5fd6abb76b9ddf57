using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Answer to IRP_MN_QUERY_DEVICE_RELATIONS: Count referenced devices from Objects on.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_device_relations"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVICE_RELATIONS
{
    public const int SizeOf = 0x10;

    [FieldOffset(0x00)] public uint Count;
    [FieldOffset(0x08)] public ObjectsArray Objects;

    /// <summary>The first; the others follow the structure.</summary>
    [InlineArray(1)]
    public struct ObjectsArray
    {
        PDEVICE_OBJECT element;
    }
}
