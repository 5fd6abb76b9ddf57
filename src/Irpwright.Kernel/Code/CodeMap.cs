using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>
/// Gives everything callable a guest address and calls what an address stands for: a routine of a C# driver, a kernel
/// export, or code of a compiled driver.
/// </summary>
public sealed unsafe partial class CodeMap
{
    const int SlotSize = 16;

    readonly Machine machine;
    readonly Lock gate = new();
    readonly Dictionary<Delegate, ulong> addresses = [];
    Delegate?[] routines = new Delegate?[64];
    int routineCount;

    internal CodeMap(Machine machine)
    {
        this.machine = machine;
        ExportBase = machine.Memory.SliceBase + AddressSpace.ExportThunkOffset;
        RoutineBase = machine.Memory.SliceBase + AddressSpace.RoutineOffset;
        RoutineEnd = machine.Memory.TrapEnd;
    }

    /// <summary>Address of the first kernel export; each has 16 bytes.</summary>
    public ulong ExportBase { get; }

    /// <summary>Address of the first routine of a C# driver; each has 16 bytes.</summary>
    public ulong RoutineBase { get; }

    public ulong RoutineEnd { get; }

    /// <summary>The address at which guest code finds a kernel export.</summary>
    public ulong AddressOf(KernelExport export) => ExportBase + (ulong)export.Index * SlotSize;

    /// <summary>Gives a routine of a C# driver its address; the same delegate always gets the same one.</summary>
    public ulong Register(Delegate routine)
    {
        lock (gate)
        {
            if (addresses.TryGetValue(routine, out ulong address)) return address;
            if (RoutineBase + (ulong)routineCount * SlotSize >= RoutineEnd)
                throw new InvalidOperationException("This machine has no code addresses left: register routines once, not per request.");
            if (routineCount == routines.Length)
            {
                var larger = new Delegate?[routines.Length * 2];
                routines.CopyTo(larger, 0);
                routines = larger;
            }
            routines[routineCount] = routine;
            address = RoutineBase + (ulong)routineCount++ * SlotSize;
            addresses.Add(routine, address);
            return address;
        }
    }

    /// <summary>The C# routine at an address, if it is one.</summary>
    public Delegate? RoutineAt(ulong address)
    {
        ulong index = (address - RoutineBase) / SlotSize;
        return index < (ulong)routines.Length && (address - RoutineBase) % SlotSize == 0 ? routines[index] : null;
    }

    /// <summary>The kernel export at an address, if it is one.</summary>
    public KernelExport? ExportAt(ulong address)
    {
        KernelExport[] exports = KernelExports.Table.Rows;
        ulong index = (address - ExportBase) / SlotSize;
        return address < RoutineBase && index < (ulong)exports.Length && (address - ExportBase) % SlotSize == 0 ? exports[index] : null;
    }

    /// <summary>
    /// Carries out a call that guest code makes to an address of the trap range; the caller then returns to the guest.
    /// </summary>
    /// <param name="gpr">Registers in encoding order, [rsp] being the return address.</param>
    /// <returns>False when nothing is there: a jump to a wild address.</returns>
    public bool InvokeTrap(ulong address, ulong* gpr)
    {
        if (ExportAt(address) is { } export)
        {
            export.Thunk(machine, gpr);
            return true;
        }
        return RoutineAt(address) is { } routine && InvokeFromRegisters(routine, gpr);
    }

    /// <summary>Calls whatever is at an address with arguments as raw 64-bit values, and returns rax.</summary>
    public ulong Invoke(ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments = default)
    {
        if (address - ExportBase < RoutineEnd - ExportBase) return InvokeManaged(address, rcx, rdx, r8, r9, stackArguments);
        if (machine.Guest is { } guest) return guest.Invoke(machine.CurrentThread, address, rcx, rdx, r8, r9, stackArguments);
        throw GuestMemory.Fault(address, PageAccess.Execute);
    }

    // A routine was stored under another role than the one it is called for, or is an export: go through the
    // register form, which is what a compiled caller would do; stack arguments lie in the thread's scratch area.
    ulong InvokeManaged(ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments)
    {
        KernelThread thread = machine.CurrentThread;
        ulong* gpr = stackalloc ulong[16];
        gpr[1] = rcx;
        gpr[2] = rdx;
        gpr[8] = r8;
        gpr[9] = r9;
        ulong stack = thread.ArgumentScratch;
        gpr[4] = stack;
        for (int i = 0; i < stackArguments.Length; i++)
            GuestMemory.Ref<ulong>(stack + 0x28 + 8 * (ulong)i) = stackArguments[i];
        if (!InvokeTrap(address, gpr)) throw GuestMemory.Fault(address, PageAccess.Execute);
        return gpr[0];
    }
}
