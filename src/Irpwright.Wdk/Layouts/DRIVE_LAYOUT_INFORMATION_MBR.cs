using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What the master boot record says of the whole disk.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/ntdddisk/ns-ntdddisk-_drive_layout_information_mbr"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DRIVE_LAYOUT_INFORMATION_MBR
{
    public const int SizeOf = 0x8;

    [FieldOffset(0x00)] public uint Signature;
    [FieldOffset(0x04)] public uint CheckSum; // Windows 10
}
