using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Event tracing (ETW) and software tracing (WPP) in a system in which no trace session runs: nothing is recorded.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/devtest/event-tracing-for-windows--etw-"/>
public sealed class EventTracing
{
    const uint MaximumDescriptors = 128;
    const int LastClassWithHandle = 3; // TraceIdClass, TraceHandleClass, TraceEnableFlagsClass, TraceEnableLevelClass
    const int AllLoggerHandlesClass = 6;
    const int LastClass = 7; // TraceHandleByNameClass

    readonly Lock gate = new();
    readonly HashSet<ulong> providers = [];
    ulong lastHandle;

    /// <summary>Registrations that were not given back.</summary>
    public int ProviderCount
    {
        get { lock (gate) return providers.Count; }
    }

    /// <summary>Registers a provider; the callback is never called, as nobody enables it. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER without a provider id.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS EtwRegister(PGUID ProviderId, PVOID EnableCallback, PVOID CallbackContext, out ulong RegHandle)
    {
        RegHandle = 0;
        if (ProviderId.IsNull) return NTSTATUS.STATUS_INVALID_PARAMETER;
        lock (gate)
        {
            providers.Add(RegHandle = ++lastHandle);
            return NTSTATUS.STATUS_SUCCESS;
        }
    }

    /// <summary>As <see cref="EtwRegister"/>, for WPP; not documented, called by the code that WPP generates. IRQL = PASSIVE_LEVEL.</summary>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS EtwRegisterClassicProvider(PGUID ProviderGuid, uint Type, PVOID EnableCallback, PVOID CallbackContext, out ulong RegHandle) =>
        EtwRegister(ProviderGuid, EnableCallback, CallbackContext, out RegHandle);

    /// <summary>Gives a registration back. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_HANDLE for no registration.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS EtwUnregister(ulong RegHandle)
    {
        lock (gate) return providers.Remove(RegHandle) ? NTSTATUS.STATUS_SUCCESS : NTSTATUS.STATUS_INVALID_HANDLE;
    }

    /// <summary>Publishes an event; no session takes it. Any IRQL.</summary>
    /// <returns>STATUS_SUCCESS; STATUS_INVALID_HANDLE for no registration; STATUS_INVALID_PARAMETER for more than 128 descriptors.</returns>
    [KernelExport]
    public NTSTATUS EtwWrite(ulong RegHandle, PVOID EventDescriptor, PGUID ActivityId, uint UserDataCount, PVOID UserData) =>
        !IsRegistered(RegHandle) ? NTSTATUS.STATUS_INVALID_HANDLE
        : UserDataCount > MaximumDescriptors ? NTSTATUS.STATUS_INVALID_PARAMETER
        : NTSTATUS.STATUS_SUCCESS;

    /// <summary>The same for an event that is related to another activity. Any IRQL.</summary>
    /// <inheritdoc cref="EtwWrite"/>
    [KernelExport]
    public NTSTATUS EtwWriteTransfer(ulong RegHandle, PVOID EventDescriptor, PGUID ActivityId, PGUID RelatedActivityId, uint UserDataCount, PVOID UserData) =>
        EtwWrite(RegHandle, EventDescriptor, ActivityId, UserDataCount, UserData);

    bool IsRegistered(ulong handle)
    {
        lock (gate) return providers.Contains(handle);
    }

    /// <summary>Whether a session wants an event: no. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN EtwEventEnabled(ulong RegHandle, PVOID EventDescriptor) => false;

    /// <summary>Whether a session wants anything of a provider: no. Any IRQL.</summary>
    [KernelExport]
    public BOOLEAN EtwProviderEnabled(ulong RegHandle, byte Level, ulong Keyword) => false;

    /// <summary>Writes a software trace message; there is no session that its handle could belong to. Any IRQL.</summary>
    /// <returns>STATUS_INVALID_HANDLE.</returns>
    [KernelExport]
    public NTSTATUS WmiTraceMessage(ulong LoggerHandle, uint MessageFlags, PGUID MessageGuid, ushort MessageNumber, VariadicArguments MessageArguments) =>
        NTSTATUS.STATUS_INVALID_HANDLE;

    /// <summary>The same with a va_list. Any IRQL.</summary>
    /// <inheritdoc cref="WmiTraceMessage"/>
    [KernelExport]
    public NTSTATUS WmiTraceMessageVa(ulong LoggerHandle, uint MessageFlags, PGUID MessageGuid, ushort MessageNumber, PVOID MessageArgList) =>
        NTSTATUS.STATUS_INVALID_HANDLE;

    /// <summary>Asks about a trace session, of which there is none. IRQL &lt;= DISPATCH_LEVEL.</summary>
    /// <returns>STATUS_INVALID_HANDLE for a session; STATUS_NOT_FOUND for those of the system; STATUS_INVALID_INFO_CLASS for another class.</returns>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public NTSTATUS WmiQueryTraceInformation(int TraceInformationClass, PVOID TraceInformation, uint TraceInformationLength, PULONG RequiredLength, PVOID Buffer) =>
        TraceInformationClass switch
        {
            >= 0 and <= LastClassWithHandle => NTSTATUS.STATUS_INVALID_HANDLE,
            AllLoggerHandlesClass => NTSTATUS.STATUS_SUCCESS, // all of none
            > LastClassWithHandle and <= LastClass => NTSTATUS.STATUS_NOT_FOUND,
            _ => NTSTATUS.STATUS_INVALID_INFO_CLASS,
        };
}
