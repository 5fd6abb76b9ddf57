using System.Globalization;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Drivers that see, block or change what others do with the registry.</summary>
/// <remarks>
/// Called for the Zw routines on keys and values, and for handles that are closed. Whoever creates or opens a key for a caller instead
/// of the registry stops the machine by name.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/filtering-registry-calls"/>
public sealed class RegistryCallbacks
{
    const uint Tag = 0x62436D43; // "CmCb"
    const ulong PostOffset = 0x100, LengthOffset = 0x140, BlockSize = 0x150;
    const uint MajorVersion = 1, MinorVersion = 1;

    readonly Machine machine;
    readonly Lock gate = new();
    long lastCookie;
    // Highest altitude first; replaced as a whole.
    Registration[] registrations = [];

    internal RegistryCallbacks(Machine machine)
    {
        this.machine = machine;
        machine.Objects.Types.Key.Closed = key => Around(REG_NOTIFY_CLASS.RegNtPreKeyHandleClose, REG_NOTIFY_CLASS.RegNtPostKeyHandleClose, key, 0x08,
            static _ => { }, static () => NTSTATUS.STATUS_SUCCESS);
    }

    sealed class Registration(PEX_CALLBACK_FUNCTION routine, PVOID context, string? altitude, long cookie)
    {
        internal PEX_CALLBACK_FUNCTION Routine { get; } = routine;

        internal PVOID Context { get; } = context;

        /// <summary>Null for a driver of before altitudes: it is above all that have one.</summary>
        internal string? Altitude { get; } = altitude;

        internal long Cookie { get; } = cookie;

        /// <summary>Threads that execute the routine.</summary>
        internal List<KernelThread> Callers { get; } = [];

        internal KernelThread? Waiter { get; set; }
    }

    /// <summary>Registers a routine above all that have an altitude; obsolete. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Cookie">For CmUnRegisterCallback.</param>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS CmRegisterCallback(PEX_CALLBACK_FUNCTION Function, PVOID Context, out long Cookie) => Register(Function, Context, null, out Cookie);

    /// <summary>Registers a routine at an altitude. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Altitude">A decimal number as text.</param>
    /// <param name="Driver">The caller.</param>
    /// <param name="Cookie">For CmUnRegisterCallback.</param>
    /// <returns>STATUS_FLT_INSTANCE_ALTITUDE_COLLISION: there is one at that altitude.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS CmRegisterCallbackEx(PEX_CALLBACK_FUNCTION Function, PUNICODE_STRING Altitude, PVOID Driver, PVOID Context, out long Cookie, PVOID Reserved) =>
        Register(Function, Context, Strings.Read(Altitude), out Cookie);

    NTSTATUS Register(PEX_CALLBACK_FUNCTION function, PVOID context, string? altitude, out long cookie)
    {
        lock (gate)
        {
            cookie = 0;
            if (altitude is not null && registrations.Any(r => r.Altitude is not null && NumberOf(r.Altitude) == NumberOf(altitude)))
                return NTSTATUS.STATUS_FLT_INSTANCE_ALTITUDE_COLLISION;
            cookie = ++lastCookie;
            registrations = [.. registrations.Append(new Registration(function, context, altitude, cookie)).OrderByDescending(r => NumberOf(r.Altitude))];
            return NTSTATUS.STATUS_SUCCESS;
        }
    }

    // Those without an altitude are in the order of their registration, which the sort keeps.
    static decimal NumberOf(string? altitude) => altitude is null ? decimal.MaxValue
        : decimal.TryParse(altitude, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out decimal number) ? number : 0;

    /// <summary>Removes a routine, and waits until nobody executes it. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER: there is none.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS CmUnRegisterCallback(long Cookie)
    {
        KernelThread thread = machine.CurrentThread;
        Registration? removed;
        lock (gate)
        {
            removed = Array.Find(registrations, r => r.Cookie == Cookie);
            if (removed is null) return NTSTATUS.STATUS_INVALID_PARAMETER;
            if (removed.Callers.Contains(thread)) throw machine.BugChecks.StopHung("CmUnRegisterCallback was called by the routine that it removes, and waits for it for ever.");
            registrations = [.. registrations.Where(r => r != removed)];
            removed.Waiter = thread;
        }
        machine.Dispatcher.WaitUntil(thread, () => { lock (gate) return removed.Callers.Count == 0; }, "waits for a RegistryCallback routine");
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Tells the version of what drivers can do here: 1.1. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CmGetCallbackVersion(PULONG Major, PULONG Minor)
    {
        if (!Major.IsNull) Major.Value = MajorVersion;
        if (!Minor.IsNull) Minor.Value = MinorVersion;
    }

    /// <summary>The name of a key object that a routine was given. IRQL &lt;= APC_LEVEL.</summary>
    /// <param name="Cookie">A LARGE_INTEGER.</param>
    /// <param name="ObjectID">Null, or receives what is the same for all objects of a key.</param>
    /// <param name="ObjectName">Null, or receives a string for CmCallbackReleaseKeyObjectIDEx.</param>
    /// <param name="Flags">0.</param>
    /// <returns>STATUS_INVALID_PARAMETER: no such cookie or key.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS CmCallbackGetKeyObjectIDEx(PLARGE_INTEGER Cookie, PVOID Object, PULONG64 ObjectID, PPVOID ObjectName, uint Flags, [Caller] ulong caller = 0)
    {
        long cookie = Cookie.Value;
        if (Flags != 0 || !Array.Exists(registrations, r => r.Cookie == cookie)) return NTSTATUS.STATUS_INVALID_PARAMETER;
        RegistryKey? key = machine.Registry.KeyOf(Object.Address);
        if (key is null || key.IsDeleted) return NTSTATUS.STATUS_INVALID_PARAMETER;
        string name = key.FullName;
        if (!ObjectName.IsNull)
        {
            ushort bytes = (ushort)(2 * name.Length);
            ulong memory = machine.Pool.Allocate(POOL_TYPE.PagedPool, UNICODE_STRING.SizeOf + (ulong)bytes, Tag, caller);
            if (memory == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
            new PUNICODE_STRING(memory).Value = new UNICODE_STRING { Length = bytes, MaximumLength = bytes, Buffer = new PWSTR(memory + UNICODE_STRING.SizeOf) };
            System.Runtime.InteropServices.MemoryMarshal.AsBytes(name.AsSpan()).CopyTo(GuestMemory.Write(memory + UNICODE_STRING.SizeOf, bytes));
            ObjectName.Value = new PVOID(memory);
        }
        if (!ObjectID.IsNull) ObjectID.Value = key.Id;
        return NTSTATUS.STATUS_SUCCESS;
    }

    /// <summary>Frees a name of CmCallbackGetKeyObjectIDEx. IRQL &lt;= APC_LEVEL.</summary>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public void CmCallbackReleaseKeyObjectIDEx(PUNICODE_STRING ObjectName) => machine.Pool.Free(ObjectName.Address, Tag);

    // ---- Calls

    /// <summary>Whether anybody wants to know.</summary>
    internal bool Any => registrations.Length > 0;

    /// <summary>Does something with the registry, with all routines called before and after.</summary>
    /// <param name="callContextOffset">Of CallContext in the structure.</param>
    /// <param name="key">The key object, which is the first field of the structure; null when the operation makes it.</param>
    /// <param name="fillIn">Writes the structure of <paramref name="before"/>.</param>
    /// <param name="made">The key object that the operation made.</param>
    internal NTSTATUS Around(REG_NOTIFY_CLASS before, REG_NOTIFY_CLASS after, PVOID key, ulong callContextOffset, Action<ulong> fillIn,
        Func<NTSTATUS> operation, Func<PVOID>? made = null) =>
        Around(before, after, key, callContextOffset, (block, _) => fillIn(block), () => (operation(), 0u), out _, made);

    /// <param name="fillIn">Gets the addresses of the structure and of the result's length.</param>
    /// <param name="length">Of the result, which routines may change.</param>
    /// <inheritdoc cref="Around(REG_NOTIFY_CLASS, REG_NOTIFY_CLASS, PVOID, ulong, Action{ulong}, Func{NTSTATUS}, Func{PVOID})"/>
    internal NTSTATUS Around(REG_NOTIFY_CLASS before, REG_NOTIFY_CLASS after, PVOID key, ulong callContextOffset, Action<ulong, ulong> fillIn,
        Func<(NTSTATUS, uint)> operation, out uint length, Func<PVOID>? made = null)
    {
        Registration[] routines = registrations;
        NTSTATUS status;
        if (routines.Length == 0)
        {
            (status, length) = operation();
            return status;
        }
        length = 0;
        ulong block = machine.Pool.Allocate(POOL_TYPE.NonPagedPoolNx, BlockSize, Tag, 0, zero: true);
        if (block == 0) return NTSTATUS.STATUS_INSUFFICIENT_RESOURCES;
        ref uint itsLength = ref GuestMemory.Ref<uint>(block + LengthOffset);
        GuestMemory.Ref<PVOID>(block) = key;
        fillIn(block, block + LengthOffset);
        var contexts = new PVOID[routines.Length];
        int called = 0;
        status = NTSTATUS.STATUS_SUCCESS;
        for (; called < routines.Length; called++)
        {
            GuestMemory.Ref<PVOID>(block + callContextOffset) = default;
            status = Call(routines[called], before, block);
            if (status < 0) break;
            contexts[called] = GuestMemory.Ref<PVOID>(block + callContextOffset);
        }
        if (status == NTSTATUS.STATUS_CALLBACK_BYPASS)
        {
            if (before is REG_NOTIFY_CLASS.RegNtPreCreateKeyEx or REG_NOTIFY_CLASS.RegNtPreOpenKeyEx)
                throw machine.BugChecks.StopUnsupported("A RegistryCallback routine created or opened a key instead of the registry, which this version does not have.");
            status = NTSTATUS.STATUS_SUCCESS;
        }
        else if (status >= 0)
        {
            (status, itsLength) = operation();
        }
        PREG_POST_OPERATION_INFORMATION post = new(block + PostOffset);
        while (called-- > 0)
        {
            post.Value = new REG_POST_OPERATION_INFORMATION
            {
                Object = made is null ? key : made(), Status = status, ReturnStatus = status, PreInformation = new PVOID(block), CallContext = contexts[called],
            };
            NTSTATUS answer = Call(routines[called], after, post.Address);
            if (answer == NTSTATUS.STATUS_CALLBACK_BYPASS) status = post.ReturnStatus;
        }
        length = itsLength;
        machine.Pool.Free(block, Tag);
        return status;
    }

    NTSTATUS Call(Registration routine, REG_NOTIFY_CLASS what, ulong information)
    {
        KernelThread thread = machine.CurrentThread;
        lock (gate) routine.Callers.Add(thread);
        NTSTATUS status = machine.Code.Call(routine.Routine, routine.Context, new PVOID((ulong)what), new PVOID(information));
        KernelThread? waiter;
        lock (gate)
        {
            routine.Callers.Remove(thread);
            waiter = routine.Waiter;
        }
        if (waiter is not null) machine.Scheduler.Unblock(waiter);
        return status;
    }
}
