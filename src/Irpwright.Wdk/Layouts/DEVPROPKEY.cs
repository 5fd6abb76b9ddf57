using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>Names a device property.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/install/devpropkey"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct DEVPROPKEY
{
    public const int SizeOf = 0x14;

    [FieldOffset(0x00)] public Guid fmtid;
    [FieldOffset(0x10)] public uint pid;
}
