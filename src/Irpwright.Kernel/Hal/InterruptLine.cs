using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>An input of the interrupt controller: devices raise it, and the service routines connected to it are called.</summary>
/// <remarks>
/// Several devices may share a line. A level-sensitive line interrupts as long as one of them holds it up, and service routines are
/// asked in the order in which they were connected until one says that its device was it. A latched line interrupts once for each time
/// it goes up, and every routine is asked. While no routine is connected the line is masked.
/// </remarks>
public sealed class InterruptLine
{
    /// <summary>Interrupts without the line ever being released in between, after which the machine stops instead of hanging.</summary>
    const int StormLimit = 500;

    const long RedeliveryTime = 10;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Interrupt interrupt;
    Connection[] connections = [];
    int held;
    bool latched;
    int deliveries;

    /// <summary>A connected interrupt object; what is needed to call it even while it is being disconnected.</summary>
    sealed record Connection(PKINTERRUPT Object, PKSPIN_LOCK Lock, PKSERVICE_ROUTINE Routine, PVOID Context, byte Irql, KINTERRUPT_MODE Mode, bool Shared)
    {
        public int Calls;
        public bool IsGone;
    }

    internal InterruptLine(Machine machine, uint number, uint vector)
    {
        this.machine = machine;
        Number = number;
        Vector = vector;
        interrupt = new Interrupt($"interrupt {number}", Irql, Deliver);
    }

    /// <summary>The interrupt request as the bus counts it, such as 11 for IRQ 11.</summary>
    public uint Number { get; }

    /// <summary>What IoConnectInterrupt takes, and u.Interrupt.Vector of a translated resource.</summary>
    public uint Vector { get; }

    /// <summary>The device IRQL: the upper half of the vector, as on x64 processors.</summary>
    public byte Irql => (byte)(Vector >> 4);

    /// <summary>Gives a device its own connection to the line.</summary>
    public InterruptPin AddPin() => new(this);

    internal void Change(bool up)
    {
        lock (gate)
        {
            held += up ? 1 : -1;
            if (up) latched = connections.Length > 0;
            else deliveries = 0;
            Request(0);
        }
    }

    // A delivery that has begun looks at the line again when it is done.
    void Request(long latency)
    {
        if (connections.Length == 0 || interrupt.IsPending) return;
        if (connections[0].Mode == KINTERRUPT_MODE.LevelSensitive ? held > 0 : latched)
            machine.Scheduler.Schedule(interrupt, machine.Scheduler.InterruptTime + latency);
    }

    /// <returns>False when the vector is in use and not shared by both, or in another mode.</returns>
    internal bool TryConnect(PKINTERRUPT added)
    {
        var connection = new Connection(added, added.ActualLock, added.ServiceRoutine, added.ServiceContext, added.SynchronizeIrql, added.Mode, added.ShareVector);
        lock (gate)
        {
            if (connections.Length > 0 && (!connection.Shared || !connections[0].Shared || connections[0].Mode != connection.Mode)) return false;
            added.Connected = true;
            connections = [.. connections, connection];
            Request(0);
            return true;
        }
    }

    /// <summary>Returns when the service routine does not run and will not run any more; false if it was not connected.</summary>
    internal bool TryDisconnect(PKINTERRUPT removed, KernelThread thread)
    {
        Connection? connection;
        lock (gate)
        {
            connection = Array.Find(connections, c => c.Object == removed);
            if (connection is null) return false;
            connection.IsGone = true;
            removed.Connected = false;
            connections = [.. connections.Where(c => c != connection)];
            if (connections.Length == 0) latched = false;
        }
        while (Volatile.Read(ref connection.Calls) > 0) machine.Scheduler.Yield(thread, SchedulingPoint.Spin);
        return true;
    }

    /// <summary>On a borrowed processor, at the device IRQL.</summary>
    void Deliver()
    {
        Connection[] chain;
        bool isLevel;
        lock (gate)
        {
            chain = connections;
            if (chain.Length == 0) return;
            isLevel = chain[0].Mode == KINTERRUPT_MODE.LevelSensitive;
            // The device took its request back before the processor answered.
            if (isLevel ? held == 0 : !latched) return;
            latched = false;
            foreach (Connection connection in chain) Interlocked.Increment(ref connection.Calls);
            deliveries++;
        }
        try
        {
            if (isLevel && deliveries > StormLimit) Storm(chain);
            if (isLevel) CallUntilClaimed(chain);
            else CallUntilQuiet(chain);
        }
        finally
        {
            foreach (Connection connection in chain) Interlocked.Decrement(ref connection.Calls);
            lock (gate) Request(isLevel ? RedeliveryTime : 0);
        }
    }

    void CallUntilClaimed(Connection[] chain)
    {
        foreach (Connection connection in chain)
        {
            if (Call(connection)) return;
        }
    }

    // An edge can hide another one: with several devices the routines are asked again until none has found anything.
    void CallUntilQuiet(Connection[] chain)
    {
        for (int round = 0; ; round++)
        {
            if (round == StormLimit) Storm(chain);
            bool claimed = false;
            foreach (Connection connection in chain) claimed |= Call(connection);
            if (!claimed || chain.Length == 1) return;
        }
    }

    bool Call(Connection connection)
    {
        KernelThread thread = machine.CurrentThread;
        byte previous = thread.Irql;
        thread.Irql = Math.Max(connection.Irql, previous);
        machine.SpinLocks.Acquire(connection.Lock);
        bool claimed = false;
        if (!connection.IsGone)
        {
            byte expected = thread.Irql;
            PKINTERRUPT target = connection.Object;
            machine.Events.Emit(new InterruptServiceStarted(target, connection.Routine, thread));
            target.DispatchCount++;
            try
            {
                claimed = machine.Code.Call(connection.Routine, target, connection.Context);
            }
            catch (Exception e) when (machine.BugChecks.Escaped(e, out Exception stop))
            {
                throw stop;
            }
            if (claimed) target.ServiceCount++;
            machine.Events.Emit(new InterruptServiceReturned(target, connection.Routine, thread, claimed));
            if (thread.Irql != expected)
            {
                throw machine.BugChecks.Stop(BugCheckCode.IRQL_UNEXPECTED_VALUE, ((ulong)thread.Irql << 16) | ((ulong)expected << 8) | 3,
                    connection.Routine.Address, target.Address, 0,
                    $"The interrupt service routine at {Format.Address(connection.Routine.Address)} was called at IRQL {expected} and returned at IRQL {thread.Irql}.");
            }
        }
        machine.SpinLocks.Release(connection.Lock);
        thread.Irql = previous;
        return claimed;
    }

    void Storm(Connection[] chain) =>
        throw machine.BugChecks.Stop(BugCheckCode.HARDWARE_INTERRUPT_STORM, chain[0].Routine.Address, chain[0].Context.Address, chain[0].Object.Address,
            chain.Length == 1 ? 1UL : 2,
            $"{StormLimit} interrupts came from line {Number} and no service routine has made its device release it: " +
            "the routine does not clear the device's request, or does not recognise it as its own.");

    public override string ToString() => $"interrupt {Number}, vector 0x{Vector:X}, IRQL {Irql}";
}

/// <summary>One device's connection to an interrupt line.</summary>
public sealed class InterruptPin
{
    readonly Lock gate = new();

    internal InterruptPin(InterruptLine line) => Line = line;

    public InterruptLine Line { get; }

    public bool IsRaised { get; private set; }

    /// <summary>Requests an interrupt; a level-sensitive line stays up until <see cref="Lower"/>.</summary>
    public void Raise() => Set(true);

    /// <summary>Ends the request.</summary>
    public void Lower() => Set(false);

    /// <summary>Requests one interrupt of a latched line.</summary>
    public void Pulse()
    {
        Raise();
        Lower();
    }

    void Set(bool up)
    {
        lock (gate)
        {
            if (IsRaised == up) return;
            IsRaised = up;
            Line.Change(up);
        }
    }
}
