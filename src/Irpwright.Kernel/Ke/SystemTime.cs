using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The time as drivers see it, and KUSER_SHARED_DATA, where compiled drivers read it without a call.</summary>
/// <remarks>
/// All times follow <see cref="Scheduler.InterruptTime"/>. The page is written when time moves: by a controlled scheduler
/// at each move, by a free-running one at each tick of the clock once <see cref="StartClock"/> was called.
/// </remarks>
public sealed class SystemTime
{
    /// <summary>Time between two clock interrupts, 100 ns units.</summary>
    public const uint TimeIncrement = 156_250;

    const long PerformanceFrequency = 10_000_000;
    const long TicksPerMillisecond = 10_000;
    const long TicksPerDay = 864_000_000_000;

    readonly Machine machine;
    readonly PKSYSTEM_TIME tickCount;

    internal SystemTime(Machine machine)
    {
        this.machine = machine;
        InitializePage();
        const uint freeBuild = 0xF000_0000;
        machine.Variables.DefineValue("NtBuildNumber", freeBuild | Page.NtBuildNumber);
        machine.Variables.DefineValue("KeNumberProcessors", (sbyte)Page.ActiveProcessorCount);
        tickCount = new PKSYSTEM_TIME(machine.Variables.Define("KeTickCount", KSYSTEM_TIME.SizeOf));
        Refresh();
    }

    /// <summary>100 ns units since 1601, UTC.</summary>
    public long Now => machine.Scheduler.BootTime + machine.Scheduler.InterruptTime;

    PKUSER_SHARED_DATA Page => new(machine.Memory.SharedUserData);

    // Windows 10 22H2, workstation, 4 GiB.
    void InitializePage()
    {
        ref KUSER_SHARED_DATA page = ref Page.Value;
        page.TickCountMultiplier = (uint)(((ulong)TimeIncrement << 24) / TicksPerMillisecond);
        page.ImageNumberLow = page.ImageNumberHigh = 0x8664;
        @"C:\Windows".CopyTo(page.NtSystemRoot);
        page.LargePageMinimum = 2 << 20;
        page.NtBuildNumber = 19045;
        page.NtProductType = 1;
        page.ProductTypeIsValid = true;
        page.NativeProcessorArchitecture = 9;
        page.NtMajorVersion = 10;
        page.NtMinorVersion = 0;
        // PF_: compare-exchange double, MMX, SSE, RDTSC, PAE, SSE2, no-execute, SSE3, compare-exchange 128, fast fail.
        foreach (int feature in (ReadOnlySpan<int>)[2, 3, 6, 8, 9, 10, 12, 13, 14, 23]) page.ProcessorFeatures[feature] = true;
        page.NumberOfPhysicalPages = (uint)(GuestMemory.SliceSize >> GuestMemory.PageShift);
        page.QpcFrequency = PerformanceFrequency;
        page.ActiveProcessorCount = Processors.Count;
        page.ActiveGroupCount = 1;
    }

    /// <summary>Writes the times into the shared page.</summary>
    internal void Refresh()
    {
        long interruptTime = machine.Scheduler.InterruptTime;
        ref KUSER_SHARED_DATA page = ref Page.Value;
        Write(ref page.InterruptTime, interruptTime);
        Write(ref page.SystemTime, machine.Scheduler.BootTime + interruptTime);
        Write(ref page.TickCount, interruptTime / TimeIncrement);
        Write(ref tickCount.Value, interruptTime / TimeIncrement);
    }

    // Readers compare the two high parts; all three are read as one quadword by newer ones.
    static void Write(ref KSYSTEM_TIME target, long time)
    {
        Volatile.Write(ref target.High2Time, (int)(time >> 32));
        Volatile.Write(ref target.LowPart, (uint)time);
        Volatile.Write(ref target.High1Time, (int)(time >> 32));
    }

    /// <summary>
    /// Keeps the shared page and KeTickCount current on a free-running scheduler: for machines with drivers that read them.
    /// </summary>
    public void StartClock()
    {
        if (machine.Scheduler is FreeRunningScheduler scheduler) scheduler.StartClock();
    }

    /// <summary>Returns the system time: 100 ns units since 1601, UTC. Any IRQL.</summary>
    [WdkInline]
    public void KeQuerySystemTime(out LARGE_INTEGER CurrentTime) => CurrentTime = Now;

    /// <inheritdoc cref="KeQuerySystemTime"/>
    [KernelExport]
    public void KeQuerySystemTimePrecise(out LARGE_INTEGER CurrentTime) => CurrentTime = Now;

    /// <summary>Returns the time since the system started, 100 ns units. Any IRQL.</summary>
    [KernelExport]
    public ulong KeQueryInterruptTime() => (ulong)machine.Scheduler.InterruptTime;

    /// <summary>Returns the time since the system started, 100 ns units, with the performance counter of that moment. Any IRQL.</summary>
    [KernelExport]
    public ulong KeQueryInterruptTimePrecise(out ulong QpcTimeStamp) => QpcTimeStamp = KeQueryInterruptTime();

    /// <summary>Returns the time since the system started, sleep not counted, 100 ns units. Any IRQL.</summary>
    [KernelExport]
    public ulong KeQueryUnbiasedInterruptTime() => KeQueryInterruptTime();

    /// <summary>Returns the clock interrupts since the system started. Any IRQL.</summary>
    [WdkInline]
    public void KeQueryTickCount(out LARGE_INTEGER CurrentCount) => CurrentCount = machine.Scheduler.InterruptTime / TimeIncrement;

    /// <summary>Returns the time between clock interrupts, 100 ns units. Any IRQL.</summary>
    [KernelExport]
    public uint KeQueryTimeIncrement() => TimeIncrement;

    /// <summary>Returns the performance counter, which counts 100 ns units. Any IRQL.</summary>
    /// <param name="PerformanceFrequency">Receives the counts per second, 10,000,000, or is NULL.</param>
    [KernelExport(Module = "hal.dll")]
    public LARGE_INTEGER KeQueryPerformanceCounter(PLARGE_INTEGER PerformanceFrequency)
    {
        if (!PerformanceFrequency.IsNull) PerformanceFrequency.Value = SystemTime.PerformanceFrequency;
        return machine.Scheduler.InterruptTime;
    }

    /// <summary>Keeps the processor busy. Any IRQL.</summary>
    /// <param name="MicroSeconds">How long; virtual time moves by it.</param>
    [KernelExport(Module = "hal.dll")]
    public void KeStallExecutionProcessor(uint MicroSeconds) => machine.Scheduler.Stall(machine.CurrentThread, MicroSeconds * 10L);

    /// <summary>Converts UTC to local time; the machine's time zone is UTC. Any IRQL.</summary>
    [KernelExport]
    public void ExSystemTimeToLocalTime(ref LARGE_INTEGER SystemTime, out LARGE_INTEGER LocalTime) => LocalTime = SystemTime;

    /// <summary>Converts local time to UTC; the machine's time zone is UTC. Any IRQL.</summary>
    [KernelExport]
    public void ExLocalTimeToSystemTime(ref LARGE_INTEGER LocalTime, out LARGE_INTEGER SystemTime) => SystemTime = LocalTime;

    /// <summary>Splits a system time into calendar fields. Any IRQL.</summary>
    [KernelExport]
    public void RtlTimeToTimeFields(ref LARGE_INTEGER Time, out TIME_FIELDS TimeFields)
    {
        long day = Time / TicksPerDay;
        int millisecond = (int)(Time % TicksPerDay / TicksPerMillisecond);
        // Day 0 is 1601-01-01, a Monday and the first day of a 400-year cycle.
        long cycle = day / 146_097;
        DateOnly date = new DateOnly(1601, 1, 1).AddDays((int)(day % 146_097));
        TimeFields = new TIME_FIELDS
        {
            Year = (short)(date.Year + cycle * 400),
            Month = (short)date.Month,
            Day = (short)date.Day,
            Hour = (short)(millisecond / 3_600_000),
            Minute = (short)(millisecond / 60_000 % 60),
            Second = (short)(millisecond / 1000 % 60),
            Milliseconds = (short)(millisecond % 1000),
            Weekday = (short)((day + 1) % 7),
        };
    }

    /// <summary>Joins calendar fields to a system time; the weekday is not looked at. Any IRQL.</summary>
    /// <returns>FALSE when a field is out of range.</returns>
    [KernelExport]
    public BOOLEAN RtlTimeFieldsToTime(ref TIME_FIELDS TimeFields, out LARGE_INTEGER Time)
    {
        Time = 0;
        TIME_FIELDS f = TimeFields;
        if (f.Year < 1601 || f.Year > 30827 || f.Month is < 1 or > 12 || f.Hour is < 0 or > 23 || f.Minute is < 0 or > 59 ||
            f.Second is < 0 or > 59 || f.Milliseconds is < 0 or > 999)
            return false;
        int cycle = (f.Year - 1601) / 400;
        int year = f.Year - cycle * 400;
        if (f.Day < 1 || f.Day > DateTime.DaysInMonth(year, f.Month)) return false;
        long day = new DateOnly(year, f.Month, f.Day).DayNumber - new DateOnly(1601, 1, 1).DayNumber + cycle * 146_097L;
        long milliseconds = ((f.Hour * 60L + f.Minute) * 60 + f.Second) * 1000 + f.Milliseconds;
        Time = day * TicksPerDay + milliseconds * TicksPerMillisecond;
        return true;
    }
}
