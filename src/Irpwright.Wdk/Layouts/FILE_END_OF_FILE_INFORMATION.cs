using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>FileEndOfFileInformation.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntddk/ns-ntddk-_file_end_of_file_information"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct FILE_END_OF_FILE_INFORMATION
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public long EndOfFile; // bytes
}
