using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The interrupt request level of a processor.</summary>
public sealed class Irqls
{
    readonly Machine machine;

    internal Irqls(Machine machine) => this.machine = machine;

    /// <summary>Returns the current IRQL. Any IRQL.</summary>
    [KernelExport]
    public byte KeGetCurrentIrql() => machine.CurrentThread.Irql;

    /// <summary>Raises the IRQL and returns the previous one.</summary>
    /// <exception cref="BugCheckException">IRQL_NOT_GREATER_OR_EQUAL when it would fall.</exception>
    [KernelExport]
    public byte KfRaiseIrql(byte NewIrql) => Raise(machine.CurrentThread, NewIrql);

    /// <summary>Raises to DISPATCH_LEVEL and returns the previous IRQL.</summary>
    [KernelExport(MaxIrql = DISPATCH_LEVEL)]
    public byte KeRaiseIrqlToDpcLevel() => Raise(machine.CurrentThread, DISPATCH_LEVEL);

    /// <summary>Restores the IRQL that a raise returned.</summary>
    /// <exception cref="BugCheckException">IRQL_NOT_LESS_OR_EQUAL when it would rise.</exception>
    [KernelExport]
    public void KeLowerIrql(byte NewIrql) => Lower(machine.CurrentThread, NewIrql);

    internal byte Raise(KernelThread thread, byte irql)
    {
        byte previous = thread.Irql;
        if (irql < previous)
        {
            throw machine.BugChecks.Stop(BugCheckCode.IRQL_NOT_GREATER_OR_EQUAL, irql, previous, 0, 0,
                $"The IRQL is {previous} and cannot be raised to {irql}.");
        }
        thread.Irql = irql;
        return previous;
    }

    internal void Lower(KernelThread thread, byte irql)
    {
        if (irql > thread.Irql)
        {
            throw machine.BugChecks.Stop(BugCheckCode.IRQL_NOT_LESS_OR_EQUAL, irql, thread.Irql, 0, 0,
                $"The IRQL is {thread.Irql} and cannot be lowered to {irql}.");
        }
        byte previous = thread.Irql;
        thread.Irql = irql;
        Lowered(thread, previous);
    }

    /// <summary>What a compiled driver does inline: writes cr8, up or down.</summary>
    public void Write(KernelThread thread, byte irql)
    {
        byte previous = thread.Irql;
        thread.Irql = irql;
        if (irql < previous) Lowered(thread, previous);
    }

    /// <summary>What a compiled driver does inline: cli and sti. What was held back happens when interrupts are enabled.</summary>
    public void EnableInterrupts(KernelThread thread, bool enable)
    {
        thread.InterruptsDisabled = !enable;
        if (enable) Lowered(thread, HIGH_LEVEL);
    }

    /// <summary>
    /// What becomes possible when an IRQL fell, also by a write to cr8, or interrupts were enabled: interrupts below their IRQL, DPCs
    /// below DISPATCH_LEVEL, APCs below APC_LEVEL.
    /// </summary>
    void Lowered(KernelThread thread, byte previous)
    {
        if (!thread.TakesDpcs && (previous <= DISPATCH_LEVEL || thread.InterruptsDisabled)) return;
        machine.Scheduler.Yield(thread, SchedulingPoint.IrqlLowered);
        machine.Apcs.Deliver(thread);
    }
}
