using System.Runtime.InteropServices;

namespace Irpwright.Wdk;

/// <summary>What ZwQueryInformationProcess says of a process.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/api/winternl/nf-winternl-ntqueryinformationprocess"/>
[Layout]
[StructLayout(LayoutKind.Explicit, Size = SizeOf)]
public struct PROCESS_BASIC_INFORMATION
{
    public const int SizeOf = 0x30;

    [FieldOffset(0x00)] public NTSTATUS ExitStatus;
    [FieldOffset(0x08)] public PVOID PebBaseAddress;
    [FieldOffset(0x10)] public ulong AffinityMask;
    [FieldOffset(0x18)] public int BasePriority;
    [FieldOffset(0x20)] public ulong UniqueProcessId;
    [FieldOffset(0x28)] public ulong InheritedFromUniqueProcessId;
}
