using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>The cached and mapped forms of one file.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_section_object_pointers"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SECTION_OBJECT_POINTERS
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public PVOID DataSectionObject;
    [FieldOffset(0x08)] public PVOID SharedCacheMap;
    [FieldOffset(0x10)] public PVOID ImageSectionObject;
}
