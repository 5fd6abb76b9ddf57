using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What ZwQuerySystemInformation says of the kind of processor.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SYSTEM_PROCESSOR_INFORMATION
{
    public const int SizeOf = 0x0C;

    [FieldOffset(0x00)] public ushort ProcessorArchitecture; // 9 is x64
    [FieldOffset(0x02)] public ushort ProcessorLevel;
    [FieldOffset(0x04)] public ushort ProcessorRevision;
    [FieldOffset(0x06)] public ushort MaximumProcessors;
    [FieldOffset(0x08)] public uint ProcessorFeatureBits;
}
