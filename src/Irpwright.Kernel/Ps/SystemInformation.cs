using System.Runtime.InteropServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>What ZwQuerySystemInformation tells: the documented classes that this machine has something to say about.</summary>
/// <seealso href="https://learn.microsoft.com/windows/win32/sysinfo/zwquerysysteminformation"/>
public sealed class SystemInformation
{
    const uint AllocationGranularity = 0x1_0000;
    const ushort ProcessorArchitectureAmd64 = 9;
    const int NormalBasePriority = 8;
    const uint StateRunning = 2, StateWaiting = 5; // KTHREAD_STATE

    readonly Machine machine;

    internal SystemInformation(Machine machine) => this.machine = machine;

    /// <summary>Tells about the system. IRQL = PASSIVE_LEVEL.</summary>
    /// <param name="SystemInformation">
    /// SYSTEM_BASIC_INFORMATION, SYSTEM_PROCESSOR_INFORMATION, SYSTEM_TIMEOFDAY_INFORMATION, a list of SYSTEM_PROCESS_INFORMATION with
    /// their threads, or SYSTEM_KERNEL_DEBUGGER_INFORMATION (two BOOLEANs: enabled, not present).
    /// </param>
    /// <param name="ReturnLength">May be null; bytes written, or needed.</param>
    /// <returns>STATUS_INVALID_INFO_CLASS for classes that are not listed, STATUS_INFO_LENGTH_MISMATCH.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS ZwQuerySystemInformation(SYSTEM_INFORMATION_CLASS SystemInformationClass, PVOID SystemInformation, uint SystemInformationLength, PULONG ReturnLength)
    {
        byte[]? answer = SystemInformationClass switch
        {
            SystemBasicInformation => BytesOf(Basic()),
            SystemProcessorInformation => BytesOf(new SYSTEM_PROCESSOR_INFORMATION { ProcessorArchitecture = ProcessorArchitectureAmd64, ProcessorLevel = 6, MaximumProcessors = Processors.Count }),
            SystemTimeOfDayInformation => BytesOf(TimeOfDay()),
            SystemProcessInformation => ProcessList(SystemInformation.Address),
            SystemKernelDebuggerInformation => [0, 1],
            _ => null,
        };
        if (answer is null) return STATUS_INVALID_INFO_CLASS;
        if (!ReturnLength.IsNull) ReturnLength.Value = (uint)answer.Length;
        if (SystemInformationLength < answer.Length) return STATUS_INFO_LENGTH_MISMATCH;
        answer.CopyTo(GuestMemory.Write(SystemInformation.Address, answer.Length));
        return STATUS_SUCCESS;
    }

    static byte[] BytesOf<T>(T value) where T : unmanaged => MemoryMarshal.AsBytes(new Span<T>(ref value)).ToArray();

    static SYSTEM_BASIC_INFORMATION Basic() => new()
    {
        TimerResolution = SystemTime.TimeIncrement,
        PageSize = PAGE_SIZE,
        NumberOfPhysicalPages = (uint)(GuestMemory.SliceSize >> PAGE_SHIFT),
        LowestPhysicalPageNumber = 1,
        HighestPhysicalPageNumber = (uint)(GuestMemory.SliceSize >> PAGE_SHIFT) - 1,
        AllocationGranularity = AllocationGranularity,
        MinimumUserModeAddress = AllocationGranularity,
        MaximumUserModeAddress = Mdls.HighestUserAddress,
        ActiveProcessorsAffinityMask = Processors.All,
        NumberOfProcessors = Processors.Count,
    };

    SYSTEM_TIMEOFDAY_INFORMATION TimeOfDay() => new() { BootTime = machine.Scheduler.BootTime, CurrentTime = machine.Time.Now };

    /// <param name="address">Where the list will lie: names in it are pointers into it.</param>
    byte[] ProcessList(ulong address)
    {
        List<byte> list = [];
        Process[] processes = [machine.Processes.System, machine.Processes.User];
        using ReferencedThreads threads = machine.Scheduler.ReferenceThreads();
        foreach (Process process in processes)
        {
            KernelThread[] own = [.. threads.All.Where(t => t.Object.Process == process.Object)];
            byte[] name = [.. MemoryMarshal.AsBytes(process.Name.AsSpan()), 0, 0];
            int nameOffset = SYSTEM_PROCESS_INFORMATION.SizeOf + own.Length * SYSTEM_THREAD_INFORMATION.SizeOf;
            int size = (nameOffset + name.Length + 7) & ~7;
            var entry = new SYSTEM_PROCESS_INFORMATION
            {
                NextEntryOffset = process == processes[^1] ? 0 : (uint)size,
                NumberOfThreads = (uint)own.Length,
                CreateTime = machine.Scheduler.BootTime,
                BasePriority = NormalBasePriority,
                UniqueProcessId = process.Id,
                InheritedFromUniqueProcessId = process.Object.InheritedFromUniqueProcessId,
                HandleCount = (uint)process.Handles.Count,
            };
            entry.ImageName.Length = (ushort)(name.Length - sizeof(char));
            entry.ImageName.MaximumLength = (ushort)name.Length;
            entry.ImageName.Buffer = new PWSTR(address + (ulong)(list.Count + nameOffset));
            int end = list.Count + size;
            list.AddRange(BytesOf(entry));
            foreach (KernelThread thread in own) list.AddRange(BytesOf(Describe(thread)));
            list.AddRange(name);
            list.AddRange(new byte[end - list.Count]);
        }
        return [.. list];
    }

    static SYSTEM_THREAD_INFORMATION Describe(KernelThread thread) => new()
    {
        ClientId = thread.Object.Cid,
        Priority = thread.Object.Priority,
        BasePriority = thread.Object.BasePriority,
        ThreadState = thread.WaitReason is null ? StateRunning : StateWaiting,
    };
}
