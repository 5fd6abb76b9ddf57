using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>How a file is open at the moment, by all that have it open.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/ddi/wdm/nf-wdm-iocheckshareaccess"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SHARE_ACCESS
{
    public const int SizeOf = 0x1C;

    [FieldOffset(0x00)] public uint OpenCount;
    [FieldOffset(0x04)] public uint Readers;
    [FieldOffset(0x08)] public uint Writers;
    [FieldOffset(0x0C)] public uint Deleters;
    [FieldOffset(0x10)] public uint SharedRead;
    [FieldOffset(0x14)] public uint SharedWrite;
    [FieldOffset(0x18)] public uint SharedDelete;
}
