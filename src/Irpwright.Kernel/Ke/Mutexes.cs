using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Mutexes: dispatcher objects that one thread owns at a time, any number of times.</summary>
/// <remarks>
/// A KMUTEX disables normal kernel APCs of its owner and must be free when that thread ends. A mutant, which user mode knows, does
/// neither: it is abandoned to the next owner.
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/introduction-to-mutex-objects"/>
public sealed class Mutexes
{
    // In KMUTANT.Abandoned, of which Windows uses bit 0 only.
    const byte AbandonedFlag = 1;
    const byte AcquiredAtDispatchFlag = 2;

    readonly Machine machine;

    internal Mutexes(Machine machine) => this.machine = machine;

    /// <summary>Prepares a mutex that nobody owns. Any IRQL. <paramref name="Level"/> is reserved, 0.</summary>
    [KernelExport]
    public void KeInitializeMutex(PKMUTANT Mutex, uint Level)
    {
        Mutex.Value = default;
        Dispatcher.InitializeHeader(new PDISPATCHER_HEADER(Mutex.Address), (byte)KOBJECTS.MutantObject, KMUTANT.SizeOf, 1);
        Mutex.ApcDisable = 1;
    }

    /// <summary>Prepares a mutant, owned by the calling thread or by nobody. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public void KeInitializeMutant(PKMUTANT Mutant, BOOLEAN InitialOwner)
    {
        KeInitializeMutex(Mutant, 0);
        Mutant.ApcDisable = 0;
        if (!InitialOwner) return;
        lock (machine.Dispatcher.Gate) Acquire(Mutant, machine.CurrentThread);
    }

    /// <summary>
    /// Gives a mutex up once; the last of nested acquisitions frees it. IRQL &lt;= DISPATCH_LEVEL, with <paramref name="Wait"/>
    /// TRUE = PASSIVE_LEVEL.
    /// </summary>
    /// <returns>The previous signal state: 0 if this call freed the mutex.</returns>
    /// <exception cref="NtStatusException">
    /// STATUS_MUTANT_NOT_OWNED (STATUS_ABANDONED if its last owner ended) when another thread owns it, or none, or when it was
    /// acquired at DISPATCH_LEVEL and is released below, or the other way round.
    /// </exception>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReleaseMutex(PKMUTANT Mutex, BOOLEAN Wait) => KeReleaseMutant(Mutex, 1, false, Wait);

    /// <summary>KeReleaseMutex with a priority increment, and with a way to give up a mutant that the caller does not own.</summary>
    /// <param name="Abandoned">TRUE frees it whoever owns it; its next owner is told by STATUS_ABANDONED.</param>
    /// <inheritdoc cref="KeReleaseMutex"/>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReleaseMutant(PKMUTANT Mutant, int Increment, BOOLEAN Abandoned, BOOLEAN Wait)
    {
        KernelThread thread = machine.CurrentThread;
        PDISPATCHER_HEADER header = new(Mutant.Address);
        int previous;
        lock (machine.Dispatcher.Gate)
        {
            previous = header.SignalState;
            if (Abandoned)
            {
                header.SignalState = 1;
                Mutant.Abandoned |= AbandonedFlag;
            }
            else
            {
                if (Mutant.OwnerThread != thread.Object || IsAtDispatch(thread) != ((Mutant.Abandoned & AcquiredAtDispatchFlag) != 0)) NotOwned(Mutant);
                header.SignalState++;
            }
            if (header.SignalState == 1)
            {
                if (previous <= 0) Disown(Mutant);
                machine.Dispatcher.SatisfyWaits(header, Increment);
            }
        }
        machine.Dispatcher.AfterSignal(Wait);
        if (!Wait) machine.Apcs.Deliver(thread);
        return previous;
    }

    static void NotOwned(PKMUTANT mutant) =>
        throw new NtStatusException((mutant.Abandoned & AbandonedFlag) != 0 ? NTSTATUS.STATUS_ABANDONED : NTSTATUS.STATUS_MUTANT_NOT_OWNED);

    /// <summary>Returns 1 when the mutex is free. IRQL &lt;= DISPATCH_LEVEL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public int KeReadStateMutex(PKMUTANT Mutex) => Volatile.Read(ref new PDISPATCHER_HEADER(Mutex.Address).SignalState);

    static bool IsAtDispatch(KernelThread thread) => thread.Irql >= DISPATCH_LEVEL;

    // ---- For the dispatcher, whose gate is held.

    /// <exception cref="NtStatusException">STATUS_MUTANT_LIMIT_EXCEEDED when the thread owns it as often as can be counted.</exception>
    internal static bool CanAcquire(PKMUTANT mutant, KernelThread thread)
    {
        int state = new PDISPATCHER_HEADER(mutant.Address).SignalState;
        if (state > 0) return true;
        if (mutant.OwnerThread != thread.Object) return false;
        return state != int.MinValue ? true : throw new NtStatusException(NTSTATUS.STATUS_MUTANT_LIMIT_EXCEEDED);
    }

    /// <returns>True if its last owner abandoned it.</returns>
    internal static bool Acquire(PKMUTANT mutant, KernelThread thread)
    {
        if (--new PDISPATCHER_HEADER(mutant.Address).SignalState != 0) return false;
        thread.Object.KernelApcDisable -= mutant.ApcDisable;
        mutant.OwnerThread = thread.Object;
        Lists.InsertTail(thread.MutexList, ListEntryOf(mutant));
        bool abandoned = (mutant.Abandoned & AbandonedFlag) != 0;
        mutant.Abandoned = IsAtDispatch(thread) ? AcquiredAtDispatchFlag : (byte)0;
        return abandoned;
    }

    static void Disown(PKMUTANT mutant)
    {
        Lists.Remove(ListEntryOf(mutant));
        mutant.OwnerThread.KernelApcDisable += mutant.ApcDisable;
        mutant.OwnerThread = default;
    }

    static PLIST_ENTRY ListEntryOf(PKMUTANT mutant) => new(mutant.Address + 0x18);

    /// <summary>The thread ends: mutants are abandoned; owning a mutex stops the machine.</summary>
    internal void RunDown(KernelThread thread)
    {
        lock (machine.Dispatcher.Gate)
        {
            while (!Lists.IsEmpty(thread.MutexList))
            {
                PKMUTANT mutant = new(thread.MutexList.Flink.Address - 0x18);
                if (mutant.ApcDisable != 0)
                {
                    throw machine.BugChecks.Stop(BugCheckCode.THREAD_TERMINATE_HELD_MUTEX, thread.Object.Address, mutant.Address, 0, 0,
                        $"{thread} ended while it owns the mutex at {mutant}.");
                }
                Disown(mutant);
                mutant.Abandoned |= AbandonedFlag;
                PDISPATCHER_HEADER header = new(mutant.Address);
                header.SignalState = 1;
                machine.Dispatcher.SatisfyWaits(header, 1);
            }
        }
    }
}
