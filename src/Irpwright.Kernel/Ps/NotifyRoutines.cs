using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Routines that drivers have called when threads begin and end and when images are loaded.</summary>
/// <remarks>
/// Process routines can be registered and are never called: no process begins or ends while a machine runs.
/// </remarks>
public sealed class NotifyRoutines
{
    const int Limit = 64; // of each kind
    const uint KernelImage = 0x103; // IMAGE_INFO.Properties: IMAGE_ADDRESSING_MODE_32BIT, SystemModeImage
    const ushort ForceIntegrity = 0x0080;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly List<Registration> processes = [];
    readonly List<Registration> threads = [];
    readonly List<Registration> images = [];

    internal NotifyRoutines(Machine machine) => this.machine = machine;

    sealed class Registration(ulong routine)
    {
        internal readonly ulong Routine = routine;
        internal int Running;
        internal KernelThread? Remover;
    }

    // ---- Registering

    /// <summary>Registers a routine for processes that begin or end, or removes it. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INVALID_PARAMETER: it is registered already, or too many are; STATUS_PROCEDURE_NOT_FOUND: it is not registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PsSetCreateProcessNotifyRoutine(PCREATE_PROCESS_NOTIFY_ROUTINE NotifyRoutine, BOOLEAN Remove) => SetProcessRoutine(NotifyRoutine.Address, Remove);

    /// <summary>Registers a routine for processes that begin or end, or removes it. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>
    /// As <see cref="PsSetCreateProcessNotifyRoutine"/>; STATUS_ACCESS_DENIED: the routine's image was not linked with /INTEGRITYCHECK.
    /// </returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PsSetCreateProcessNotifyRoutineEx(PCREATE_PROCESS_NOTIFY_ROUTINE_EX NotifyRoutine, BOOLEAN Remove) =>
        !Remove && !IsTrusted(NotifyRoutine.Address) ? STATUS_ACCESS_DENIED : SetProcessRoutine(NotifyRoutine.Address, Remove);

    NTSTATUS SetProcessRoutine(ulong routine, bool remove)
    {
        if (remove) return Remove(processes, routine);
        lock (gate)
        {
            if (processes.Exists(r => r.Routine == routine)) return STATUS_INVALID_PARAMETER;
        }
        return Add(processes, routine) ? STATUS_SUCCESS : STATUS_INVALID_PARAMETER;
    }

    // C# drivers have no image that could say so.
    bool IsTrusted(ulong routine)
    {
        foreach (Driver driver in machine.Drivers.All)
        {
            ulong start = driver.Object.DriverStart.Address;
            if (routine - start >= driver.Object.DriverSize) continue;
            ulong headers = start + GuestMemory.Ref<uint>(start + 0x3C);
            return LoadedModules.ForcesIntegrity(driver.Object) || (GuestMemory.Ref<ushort>(headers + 0x5E) & ForceIntegrity) != 0;
        }
        return true;
    }

    /// <summary>Registers a routine for threads that begin or end. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INSUFFICIENT_RESOURCES: too many are registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PsSetCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine) =>
        Add(threads, NotifyRoutine.Address) ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;

    /// <summary>Removes a routine, after the last call of it has returned. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_PROCEDURE_NOT_FOUND: it is not registered.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS PsRemoveCreateThreadNotifyRoutine(PCREATE_THREAD_NOTIFY_ROUTINE NotifyRoutine) => Remove(threads, NotifyRoutine.Address);

    /// <summary>Registers a routine for images that are loaded. IRQL = PASSIVE_LEVEL.</summary>
    /// <returns>STATUS_INSUFFICIENT_RESOURCES: too many are registered.</returns>
    [KernelExport(MaxIrql = PASSIVE_LEVEL)]
    public NTSTATUS PsSetLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine) =>
        Add(images, NotifyRoutine.Address) ? STATUS_SUCCESS : STATUS_INSUFFICIENT_RESOURCES;

    /// <summary>Removes a routine, after the last call of it has returned. IRQL &lt;= APC_LEVEL.</summary>
    /// <returns>STATUS_PROCEDURE_NOT_FOUND: it is not registered.</returns>
    [KernelExport(MaxIrql = APC_LEVEL)]
    public NTSTATUS PsRemoveLoadImageNotifyRoutine(PLOAD_IMAGE_NOTIFY_ROUTINE NotifyRoutine) => Remove(images, NotifyRoutine.Address);

    bool Add(List<Registration> list, ulong routine)
    {
        lock (gate)
        {
            if (list.Count == Limit) return false;
            list.Add(new Registration(routine));
            return true;
        }
    }

    NTSTATUS Remove(List<Registration> list, ulong routine)
    {
        KernelThread thread = machine.CurrentThread;
        Registration? removed;
        lock (gate)
        {
            removed = list.Find(r => r.Routine == routine);
            if (removed is null) return STATUS_PROCEDURE_NOT_FOUND;
            list.Remove(removed);
            removed.Remover = thread;
        }
        machine.Dispatcher.WaitUntil(thread, () => Volatile.Read(ref removed.Running) == 0, "waits for a notify routine to return, which it removes");
        return STATUS_SUCCESS;
    }

    // ---- Notifying

    /// <summary>A thread was created; tells in the context of the creating thread, else in that of the new one as it begins.</summary>
    internal void ThreadCreated(KernelThread thread)
    {
        if (thread.IsAnnounced) return;
        thread.IsAnnounced = true;
        NotifyOfThread(thread, created: true);
    }

    internal void ThreadEnds(KernelThread thread) => NotifyOfThread(thread, created: false);

    void NotifyOfThread(KernelThread thread, bool created)
    {
        if (threads.Count == 0) return;
        CLIENT_ID id = thread.Object.Cid;
        Notify(threads, routine => machine.Code.Call(new PCREATE_THREAD_NOTIFY_ROUTINE(routine), id.UniqueProcess, id.UniqueThread, created));
    }

    /// <summary>The image of a driver is in memory and has not run yet.</summary>
    internal void ImageLoaded(string driver, ulong address, uint size)
    {
        if (images.Count == 0) return;
        using var information = new LocalVariable<IMAGE_INFO>(machine);
        information.Value = new IMAGE_INFO { Properties = KernelImage, ImageBase = new PVOID(address), ImageSize = size };
        var pointer = new PIMAGE_INFO(information.Address.Address);
        PUNICODE_STRING name = machine.Strings.Constant($@"\SystemRoot\System32\drivers\{driver}.sys");
        Notify(images, routine => machine.Code.Call(new PLOAD_IMAGE_NOTIFY_ROUTINE(routine), name, default, pointer));
    }

    // Called at PASSIVE_LEVEL in a critical region; a routine may register and remove others meanwhile.
    void Notify(List<Registration> list, Action<ulong> call)
    {
        Registration[] registered;
        lock (gate)
        {
            registered = [.. list];
            foreach (Registration registration in registered) registration.Running++;
        }
        machine.Apcs.KeEnterCriticalRegion();
        foreach (Registration registration in registered)
        {
            call(registration.Routine);
            KernelThread? remover;
            lock (gate)
            {
                registration.Running--;
                remover = registration.Remover;
            }
            if (remover is not null) machine.Scheduler.Unblock(remover);
        }
        machine.Apcs.KeLeaveCriticalRegion();
    }
}
