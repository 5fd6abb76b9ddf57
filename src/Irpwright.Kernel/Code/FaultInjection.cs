using System.Collections.Frozen;
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

    enum Failure : byte
    {
        /// <summary>Returns NULL.</summary>
        Null,
        /// <summary>Returns STATUS_INSUFFICIENT_RESOURCES.</summary>
        Status,
        /// <summary>Raises STATUS_INSUFFICIENT_RESOURCES.</summary>
        Raise,
        /// <summary>An alertable wait returns STATUS_ALERTED at once.</summary>
        Alert,
    }

    // Bits of POOL_TYPE and POOL_FLAGS that have an allocation raise.
    const ulong PoolRaiseIfAllocationFailure = 16, PoolFlagRaiseOnFailure = 0x20;
    const int BugCheckOnFailureArgument = 4;

    static readonly FrozenDictionary<KernelExport, Failure> Routines = new (Failure Failure, string[] Names)[]
    {
        (Failure.Null,
        [
            "ExAllocatePool", "ExAllocatePoolWithTag", "ExAllocatePoolWithTagPriority", "ExAllocatePool2", "ExAllocatePool3",
            "ExAllocateFromNPagedLookasideList", "ExAllocateFromPagedLookasideList", "ExAllocateFromLookasideListEx", "ExAllocateTimer",
            "IoAllocateIrp", "IoAllocateIrpEx", "IoAllocateMdl", "IoAllocateWorkItem", "IoAllocateErrorLogEntry", "IoMakeAssociatedIrp",
            "IoBuildAsynchronousFsdRequest", "IoBuildDeviceIoControlRequest", "IoBuildSynchronousFsdRequest", "MmMapLockedPagesSpecifyCache",
            "MmMapIoSpace", "MmMapIoSpaceEx", "MmAllocateContiguousMemory", "MmAllocateContiguousMemorySpecifyCache", "MmAllocateNonCachedMemory",
            "MmAllocatePagesForMdl", "MmAllocatePagesForMdlEx", "MmAllocateMappingAddress",
        ]),
        (Failure.Status,
        [
            "IoSetCompletionRoutineEx", "IoCreateDevice", "IoCreateDeviceSecure", "IoCreateSymbolicLink", "IoRegisterDeviceInterface",
            "IoSetDeviceInterfaceState", "IoRegisterShutdownNotification", "IoRegisterPlugPlayNotification", "IoAllocateDriverObjectExtension",
            "IoAttachDeviceToDeviceStackSafe", "IoConnectInterrupt", "IoConnectInterruptEx", "IoOpenDeviceRegistryKey", "IoGetDeviceProperty",
            "IoWMIRegistrationControl", "ObReferenceObjectByHandle", "ObOpenObjectByPointer", "PoRequestPowerIrp", "PsCreateSystemThread",
            "RtlAnsiStringToUnicodeString", "RtlUnicodeStringToAnsiString", "RtlDuplicateUnicodeString", "ZwOpenKey", "ZwCreateKey",
            "ZwOpenFile", "ZwCreateFile", "ZwQueryValueKey", "ZwSetValueKey", "ExInitializeLookasideListEx", "ExCreateCallback",
        ]),
        (Failure.Alert, ["KeWaitForSingleObject", "KeWaitForMultipleObjects", "KeDelayExecutionThread"]),
        (Failure.Raise, ["ExAllocatePoolWithQuota", "ExAllocatePoolWithQuotaTag", "MmProbeAndLockPages"]),
    }
        .SelectMany(group => group.Names, (group, name) => (Export: KernelExports.Find(name), group.Failure))
        .Where(row => row.Export is not null)
        .ToFrozenDictionary(row => row.Export!, row => row.Failure);

    readonly Machine machine;

    internal FaultInjection(Machine machine) => this.machine = machine;

    /// <summary>Whether anything may fail.</summary>
    public bool IsOn { get; set; }

    /// <summary>Names of drivers whose calls do not fail, such as one that only plays a part.</summary>
    public IReadOnlyCollection<string> Spared { get; set; } = [];

    /// <summary>Decides about a call that a driver makes.</summary>
    /// <param name="result">What the routine returns if it fails.</param>
    /// <exception cref="NtStatusException">It fails by raising.</exception>
    internal bool Strikes(KernelExport export, ulong caller, DdiArguments arguments, out ulong result)
    {
        result = 0;
        return IsOn && Decide(export, caller, arguments, out result);
    }

    bool Decide(KernelExport export, ulong caller, DdiArguments arguments, out ulong result)
    {
        result = 0;
        if (!Routines.TryGetValue(export, out Failure failure) || machine.TryGetCurrentThread() is null) return false;
        // There the routine cannot fail without stopping the system.
        if (export == KernelExports.MmMapLockedPagesSpecifyCache && (uint)arguments[BugCheckOnFailureArgument] != 0) return false;
        if (failure == Failure.Alert && (byte)arguments[AlertableArgumentOf(export)] == 0) return false;
        // Drivers that are part of the kernel are not found.
        if (machine.Drivers.FindByCode(caller) is not { } driver || Spared.Contains(driver.Name)) return false;
        if (!machine.Choices.Choose($"{SitePrefix}{export.SourceName} in {PlaceOf(caller)}")) return false;
        if (failure == Failure.Raise || Raises(export, arguments[0]))
            throw new NtStatusException(NTSTATUS.STATUS_INSUFFICIENT_RESOURCES, $"{export.SourceName} was made to fail.");
        if (failure == Failure.Status) result = unchecked((uint)NTSTATUS.STATUS_INSUFFICIENT_RESOURCES);
        else if (failure == Failure.Alert) result = (uint)NTSTATUS.STATUS_ALERTED;
        return true;
    }

    static int AlertableArgumentOf(KernelExport export) => export.SourceName switch
    {
        "KeWaitForSingleObject" => 3,
        "KeWaitForMultipleObjects" => 5,
        _ => 1,
    };

    static bool Raises(KernelExport export, ulong flags) => export.SourceName switch
    {
        "ExAllocatePool" or "ExAllocatePoolWithTag" or "ExAllocatePoolWithTagPriority" => (flags & PoolRaiseIfAllocationFailure) != 0,
        "ExAllocatePool2" or "ExAllocatePool3" => (flags & PoolFlagRaiseOnFailure) != 0,
        _ => false,
    };

    /// <summary>The place in the driver: for C# drivers method and offset, as their calls have no address of their own.</summary>
    string PlaceOf(ulong caller)
    {
        if (machine.Code.RoutineAt(caller) is null) return machine.BugChecks.SymbolAt?.Invoke(caller) ?? Format.Address(caller);
        System.Diagnostics.StackFrame? frame = Array.Find(new System.Diagnostics.StackTrace().GetFrames(), static f =>
            f.GetMethod()?.DeclaringType is { } type && type != typeof(WdmDriver) && type.IsAssignableTo(typeof(WdmDriver)));
        return frame is null ? "a C# driver" : $"{frame.GetMethod()!.DeclaringType!.Name}.{frame.GetMethod()!.Name}+{frame.GetILOffset()}";
    }
}
