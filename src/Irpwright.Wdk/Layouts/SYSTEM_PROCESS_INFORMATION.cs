using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>One process in the list of ZwQuerySystemInformation; its threads follow.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct SYSTEM_PROCESS_INFORMATION
{
    public const int SizeOf = 0x100;

    [FieldOffset(0x00)] public uint NextEntryOffset; // bytes to the next process, 0 for the last
    [FieldOffset(0x04)] public uint NumberOfThreads;
    [FieldOffset(0x20)] public long CreateTime;
    [FieldOffset(0x28)] public long UserTime;
    [FieldOffset(0x30)] public long KernelTime;
    [FieldOffset(0x38)] public UNICODE_STRING ImageName;
    [FieldOffset(0x48)] public int BasePriority;
    [FieldOffset(0x50)] public HANDLE UniqueProcessId;
    [FieldOffset(0x58)] public HANDLE InheritedFromUniqueProcessId;
    [FieldOffset(0x60)] public uint HandleCount;
    [FieldOffset(0x64)] public uint SessionId;
}
