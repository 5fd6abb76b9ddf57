using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Callback objects: what one component tells others about by calling their routines.</summary>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/callback-objects"/>
public sealed class Callbacks
{
    const uint Tag = 0x6765_5243; // "CReg"
    const uint CallbackAllAccess = 0x001F0001;

    static readonly string[] SystemDefined = [@"\Callback\SetSystemTime", @"\Callback\PowerState", @"\Callback\ProcessorAdd"];

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<ulong, CallbackObject> objects = [];
    readonly Dictionary<ulong, Registration> registrations = [];

    internal Callbacks(Machine machine)
    {
        this.machine = machine;
        Type.Deleting = target =>
        {
            lock (gate) objects.Remove(target.Address);
        };
        foreach (string name in SystemDefined)
        {
            ulong address = machine.Objects.Create(Type, ObjectNamespace.OpaqueSize);
            objects.Add(address, new CallbackObject(allowMultiple: true));
            machine.Objects.SetName(address, name, NameLifetime.Permanent);
        }
    }

    ObjectType Type => machine.Objects.Types.Callback;

    sealed class CallbackObject(bool allowMultiple)
    {
        internal readonly bool AllowMultiple = allowMultiple;
        internal readonly List<Registration> Registrations = [];
    }

    sealed class Registration(PVOID target, PCALLBACK_FUNCTION function, PVOID context)
    {
        internal readonly PVOID Target = target;
        internal readonly PCALLBACK_FUNCTION Function = function;
        internal readonly PVOID Context = context;
        internal int Running;
        internal KernelThread? Waiter;
    }

    /// <summary>Opens a callback object, or creates it. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="CallbackObject">Receives a referenced pointer.</param>
    /// <param name="Create">TRUE creates it if it cannot be opened.</param>
    /// <param name="AllowMultipleCallbacks">For a new object: whether more than one routine may be registered.</param>
    /// <returns>STATUS_UNSUCCESSFUL without a name; otherwise as ZwCreateDirectoryObject and ZwOpenDirectoryObject.</returns>
    [KernelExport(MaxIrql = APC_LEVEL, FailsWith = DdiFailure.Status)]
    public NTSTATUS ExCreateCallback(out PVOID CallbackObject, POBJECT_ATTRIBUTES ObjectAttributes, BOOLEAN Create, BOOLEAN AllowMultipleCallbacks)
    {
        CallbackObject = default;
        if (ObjectAttributes.IsNull || ObjectAttributes.ObjectName.IsNull) return NTSTATUS.STATUS_UNSUCCESSFUL;
        NTSTATUS status = machine.NamedObjects.Open(Type, CallbackAllAccess, ObjectAttributes, out HANDLE handle);
        if (status < 0 && Create)
        {
            bool allowMultiple = AllowMultipleCallbacks;
            status = machine.NamedObjects.Create(Type, ObjectNamespace.OpaqueSize, CallbackAllAccess, ObjectAttributes, created =>
            {
                lock (gate) objects.Add(created.Address, new CallbackObject(allowMultiple));
            }, out handle);
        }
        if (status < 0) return status;
        status = machine.Handles.ObReferenceObjectByHandle(handle, CallbackAllAccess, Type.Object, MODE.KernelMode, out CallbackObject, default);
        machine.Handles.ZwClose(handle);
        return status;
    }

    /// <summary>Registers a routine; the object is referenced until the routine is taken back. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>A handle for ExUnregisterCallback; NULL if the object takes one routine only and has it, or memory is short.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public PVOID ExRegisterCallback(PVOID CallbackObject, PCALLBACK_FUNCTION CallbackFunction, PVOID CallbackContext)
    {
        // The block only gives the registration an address that nobody else has.
        ulong handle = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, SLIST_ENTRY.SizeOf, Tag, 0);
        if (handle == 0) return default;
        lock (gate)
        {
            CallbackObject target = Require(CallbackObject);
            if (target.AllowMultiple || target.Registrations.Count == 0)
            {
                var registration = new Registration(CallbackObject, CallbackFunction, CallbackContext);
                target.Registrations.Add(registration);
                registrations.Add(handle, registration);
                machine.Objects.ObfReferenceObject(CallbackObject);
                return new PVOID(handle);
            }
        }
        machine.Pool.Free(handle, Tag);
        return default;
    }

    /// <summary>Calls all registered routines in the order of their registration, at the IRQL of the caller. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void ExNotifyCallback(PVOID CallbackObject, PVOID Argument1, PVOID Argument2)
    {
        Registration[] all;
        lock (gate) all = [.. Require(CallbackObject).Registrations];
        foreach (Registration registration in all)
        {
            lock (gate)
            {
                if (!Require(CallbackObject).Registrations.Contains(registration)) continue;
                registration.Running++;
            }
            machine.Code.Call(registration.Function, registration.Context, Argument1, Argument2);
            lock (gate)
            {
                registration.Running--;
                if (registration.Waiter is { } waiter) machine.Scheduler.Unblock(waiter);
            }
        }
    }

    /// <summary>Takes a routine back, and waits until it does not run. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="CbRegistration">From ExRegisterCallback.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void ExUnregisterCallback(PVOID CbRegistration)
    {
        KernelThread thread = machine.CurrentThread;
        Registration? registration;
        lock (gate)
        {
            if (registrations.Remove(CbRegistration.Address, out registration))
            {
                Require(registration.Target).Registrations.Remove(registration);
                registration.Waiter = thread;
            }
        }
        if (registration is null) throw new GuestFaultException(CbRegistration.Address, PageAccess.Read);
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref registration.Running) == 0,
            $"waits until the callback routine at {registration.Function} has returned");
        machine.Pool.Free(CbRegistration.Address, Tag);
        machine.Objects.ObfDereferenceObject(registration.Target);
    }

    CallbackObject Require(PVOID target) =>
        objects.GetValueOrDefault(target.Address) ?? throw new GuestFaultException(target.Address, PageAccess.Read);
}
