using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One thread in the list of ZwQuerySystemInformation.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SYSTEM_THREAD_INFORMATION
{
    public const int SizeOf = 0x50;

    [FieldOffset(0x00)] public long KernelTime;
    [FieldOffset(0x08)] public long UserTime;
    [FieldOffset(0x10)] public long CreateTime;
    [FieldOffset(0x18)] public uint WaitTime;
    [FieldOffset(0x20)] public PVOID StartAddress;
    [FieldOffset(0x28)] public CLIENT_ID ClientId;
    [FieldOffset(0x38)] public int Priority;
    [FieldOffset(0x3C)] public int BasePriority;
    [FieldOffset(0x40)] public uint ContextSwitches;
    [FieldOffset(0x44)] public uint ThreadState;
    [FieldOffset(0x48)] public uint WaitReason;
}
