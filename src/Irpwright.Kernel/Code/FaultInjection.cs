using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Has kernel routines fail for want of resources, and alerts end waits, as Driver Verifier's low resources simulation does, but call by call and as the
/// strategy chooses: every call site is a question of <see cref="Choices"/>, so that each can fail once and a run can be repeated.
/// </summary>
/// <remarks>Asks only while somebody observes calls, as nobody else would learn anything from it.</remarks>
public sealed class FaultInjection
{
    /// <summary>Begins the name of every question of this kind.</summary>
    public const string SitePrefix = "fails: ";

    // Bits of POOL_TYPE and POOL_FLAGS that have an allocation raise; with quota it raises unless it is told not to.
    const ulong PoolRaiseIfAllocationFailure = 16, PoolQuotaFailInsteadOfRaise = 8, PoolFlagRaiseOnFailure = 0x20;
    const int BugCheckOnFailureArgument = 4;

    readonly Machine machine;

    internal FaultInjection(Machine machine) => this.machine = machine;

    /// <summary>Whether anything may fail.</summary>
    public bool IsOn { get; set; }

    /// <summary>Names of drivers whose calls do not fail, such as one that only plays a part.</summary>
    public IReadOnlyCollection<string> Spared { get; set; } = [];

    /// <summary>Decides about a call that a compiled driver makes.</summary>
    /// <param name="caller">Its return address.</param>
    /// <param name="result">What the routine returns if it fails.</param>
    /// <exception cref="NtStatusException">It fails by raising.</exception>
    internal bool Strikes(KernelExport export, ulong caller, DdiArguments arguments, out ulong result)
    {
        result = 0;
        return Asks(export, caller, arguments) is { } driver
            && Strikes(export, driver, arguments, machine.BugChecks.SymbolAt?.Invoke(caller) ?? Format.Address(caller), out result);
    }

    /// <summary>Decides about a call that a C# driver makes; where it stands in the source is the same in every run, where in the host's code is not.</summary>
    /// <inheritdoc cref="Strikes(KernelExport, ulong, DdiArguments, out ulong)"/>
    internal bool Strikes(KernelExport export, ulong caller, DdiArguments arguments, string method, int line, out ulong result)
    {
        result = 0;
        return Asks(export, caller, arguments) is { } driver && Strikes(export, driver, arguments, $"{driver.Name}!{method}, line {line}", out result);
    }

    /// <returns>The driver that calls; null if the call cannot fail.</returns>
    Driver? Asks(KernelExport export, ulong caller, DdiArguments arguments)
    {
        if (!IsOn || export.FailsWith == DdiFailure.None || machine.TryGetCurrentThread() is null) return null;
        // There the routine cannot fail without stopping the system.
        if (export == KernelExports.MmMapLockedPagesSpecifyCache && (uint)arguments[BugCheckOnFailureArgument] != 0) return null;
        if (export.FailsWith == DdiFailure.Alert && (byte)arguments[AlertableArgumentOf(export)] == 0) return null;
        // Drivers that are part of the kernel are not found.
        return machine.Drivers.FindByCode(caller) is { } driver && !Spared.Contains(driver.Name) ? driver : null;
    }

    bool Strikes(KernelExport export, Driver driver, DdiArguments arguments, string place, out ulong result)
    {
        result = 0;
        if (!machine.Choices.Choose($"{SitePrefix}{export.SourceName} in {place}")) return false;
        machine.Events.Emit(new CallMadeToFail(export, driver, place));
        if (export.FailsWith == DdiFailure.Raise || Raises(export, arguments))
            throw new NtStatusException(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, $"{export.SourceName} was made to fail.");
        if (export.FailsWith == DdiFailure.Status) result = unchecked((uint)NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        else if (export.FailsWith == DdiFailure.Alert) result = (uint)NTSTATUS.STATUS_ALERTED;
        return true;
    }

    static int AlertableArgumentOf(KernelExport export) => export.SourceName switch
    {
        "KeWaitForSingleObject" => 3,
        "KeWaitForMultipleObjects" => 5,
        _ => 1,
    };

    static bool Raises(KernelExport export, DdiArguments arguments) => export.SourceName switch
    {
        "ExAllocatePool" or "ExAllocatePoolWithTag" or "ExAllocatePoolWithTagPriority" => (arguments[0] & PoolRaiseIfAllocationFailure) != 0,
        "ExAllocatePoolWithQuotaTag" => (arguments[0] & PoolQuotaFailInsteadOfRaise) == 0,
        "ExAllocatePool2" => (arguments[0] & PoolFlagRaiseOnFailure) != 0,
        _ => false,
    };
}
