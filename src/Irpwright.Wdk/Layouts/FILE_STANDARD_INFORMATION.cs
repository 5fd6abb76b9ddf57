using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>FileStandardInformation.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_standard_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_STANDARD_INFORMATION
{
    public const int SizeOf = 0x18;

    [FieldOffset(0x00)] public long AllocationSize; // bytes
    [FieldOffset(0x08)] public long EndOfFile; // bytes
    [FieldOffset(0x10)] public uint NumberOfLinks;
    [FieldOffset(0x14)] public BOOLEAN DeletePending;
    [FieldOffset(0x15)] public BOOLEAN Directory;
}
