using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>FileBasicInformation: times, 100 ns since 1601, and attributes.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/ns-wdm-_file_basic_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_BASIC_INFORMATION
{
    public const int SizeOf = 0x28;

    [FieldOffset(0x00)] public long CreationTime;
    [FieldOffset(0x08)] public long LastAccessTime;
    [FieldOffset(0x10)] public long LastWriteTime;
    [FieldOffset(0x18)] public long ChangeTime;
    [FieldOffset(0x20)] public uint FileAttributes;
}
