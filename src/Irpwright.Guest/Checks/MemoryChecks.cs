using System.Runtime.InteropServices;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Checks;

/// <summary>Who is told what checked mode finds.</summary>
unsafe interface IMisuseReports
{
    /// <param name="pointer">The register that the address was made from.</param>
    void BlockMisused(ulong address, ulong pointer, bool isWrite, ulong instruction);

    void UninitializedUsed(UninitializedUse use, ulong source, ulong instruction);

    void PageableTouched(ulong address, PageAccess access, byte irql, ulong instruction);

    /// <summary>An IRP is touched that some driver has given away; whether it was the one that does this is not known yet.</summary>
    void LentTouched(ulong address, bool isWrite, ulong instruction);

    /// <summary>What may only be exchanged is stored to.</summary>
    void ExchangedStored(ulong address, ulong instruction);

    /// <summary>User memory is touched, which is right only with care.</summary>
    void UserTouched(Cpu* cpu, ulong address, bool isWrite, ulong instruction);

    /// <summary>A routine returns, and rsp rises above <see cref="CheckState.WatchedFrame"/>.</summary>
    void FrameLeft(Cpu* cpu, ulong instruction);

    /// <summary>The kernel routine at an address.</summary>
    KernelExport? ExportAt(ulong address);

    /// <summary>A kernel routine is about to return to compiled code.</summary>
    /// <param name="first">Its first two arguments.</param>
    void Returning(Cpu* cpu, KernelExport export, ulong first, ulong second);
}

/// <summary>What checked mode knows of a machine, for <see cref="Inspection"/> and calls of the kernel.</summary>
sealed unsafe class MemoryChecks(MemoryShadow shadow, IMisuseReports reports) : IDisposable
{
    const int PlansAtOnce = 256;

    readonly Lock gate = new();
    readonly HashSet<(ulong Instruction, int Kind)> told = [];
    // Since the last call of the kernel.
    readonly HashSet<(ulong Instruction, ulong Frame, ulong Page)> userTouched = [];
    readonly List<nint> allocations = [];
    InspectionPlan* free, end;

    public MemoryShadow Shadow { get; } = shadow;

    /// <summary>An empty plan. Plans live as long as this.</summary>
    public InspectionPlan* NewPlan()
    {
        if (free == end)
        {
            free = (InspectionPlan*)NativeMemory.AllocZeroed(PlansAtOnce, (nuint)sizeof(InspectionPlan));
            end = free + PlansAtOnce;
            allocations.Add((nint)free);
        }
        return free++;
    }

    /// <summary>A processor begins.</summary>
    public void Prepare(Cpu* cpu)
    {
        CheckState* state = CheckState.Of(cpu);
        state->Memory = Shadow.Bytes;
        state->WatchedFrame = ulong.MaxValue;
    }

    /// <summary>Whether the state of an address is known: it is memory of this machine.</summary>
    public bool IsWatched(Cpu* cpu, ulong address) => GuestAccess.IsOfThisMachine(cpu, address);

    /// <summary>Reports what is wrong with an access, and returns what all bytes have between them.</summary>
    public ByteState CheckBytes(Cpu* cpu, ulong address, ulong length, bool isWrite, ulong instruction, ulong pointer)
    {
        ByteState found = Shadow.Of(address, length);
        if ((found & ByteState.Pageable) != 0 || address < GuestMemory.KernelHalf)
            RequireResident(cpu, address, isWrite ? PageAccess.Write : PageAccess.Read, instruction);
        if (address < GuestMemory.KernelHalf) TouchUser(cpu, address, isWrite, instruction);
        const ByteState forbidden = ByteState.Outside | ByteState.Freed;
        if ((found & forbidden) != 0)
        {
            ulong first = address;
            while ((Shadow[first] & forbidden) == 0) first++;
            if (IsNews(instruction, (Shadow[first] & ByteState.Freed) != 0 ? 0 : 1)) reports.BlockMisused(first, pointer, isWrite, instruction);
        }
        if ((found & ByteState.Lent) != 0) reports.LentTouched(address, isWrite, instruction);
        return found;
    }

    void TouchUser(Cpu* cpu, ulong address, bool isWrite, ulong instruction)
    {
        lock (gate)
        {
            if (!userTouched.Add((instruction, cpu->Rsp, address >> GuestMemory.PageShift))) return;
        }
        reports.UserTouched(cpu, address, isWrite, instruction);
    }

    /// <summary>The same for many bytes, of which none may be memory of this machine.</summary>
    public void CheckRange(Cpu* cpu, ulong address, ulong length, bool isWrite, ulong instruction)
    {
        if (length == 0 || !IsWatched(cpu, address)) return;
        // The first byte that will fault is looked at as well: it may say which block it lies behind.
        CheckBytes(cpu, address, Math.Min(length, Reachable(cpu, address, length) + 1), isWrite, instruction, address);
    }

    /// <summary>How much of a range is memory of this machine; what comes after it will fault.</summary>
    ulong Reachable(Cpu* cpu, ulong address, ulong length)
    {
        if (length == 0 || !IsWatched(cpu, address)) return 0;
        length = Math.Min(length, int.MaxValue);
        return GuestMemory.TryTranslate(address, length, PageAccess.Read, out _, out ulong faultAddress) ? length : faultAddress - address;
    }

    public void RequireResident(Cpu* cpu, ulong address, PageAccess access, ulong instruction)
    {
        byte irql = cpu->Irql == null ? PASSIVE_LEVEL : *cpu->Irql;
        if (irql < DISPATCH_LEVEL) return;
        bool isPageable = address < GuestMemory.KernelHalf
            || address - GuestMemory.KernelBase < GuestMemory.KernelSpan
                && ((PageAccess)GuestMemory.KernelPages[address - GuestMemory.KernelBase >> GuestMemory.PageShift]).HasFlag(PageAccess.Pageable);
        if (!isPageable || Shadow.IsLocked(address)) return;
        // A pageable routine is one error, not one for each of its instructions.
        ulong site = access == PageAccess.Execute ? instruction & ~(GuestMemory.PageSize - 1) : instruction;
        if (IsNews(site, 2)) reports.PageableTouched(address, access, irql, instruction);
    }

    /// <summary>
    /// Which bytes of an operand nobody has written, one in each byte of the result. The kernel and C# drivers write without saying so; what
    /// does not hold the pattern of fresh memory was written by them, and so was the rest of the operand.
    /// </summary>
    public ulong Unwritten(Cpu* cpu, ulong address, int size)
    {
        byte* state = Shadow.Bytes + (uint)address;
        ulong bits = 0;
        for (int i = 0; i < size; i++) bits |= (ulong)(state[i] & 1) << (8 * i);
        if (bits == 0) return 0;
        // A few bytes may hold the pattern by chance: their neighbours tell.
        ulong from = size <= 2 ? address & ~15UL : address, to = size <= 2 ? from + 16 : address + (ulong)size;
        if (!GuestMemory.TryTranslate(from, to - from, PageAccess.Read, out byte* host, out _)) return 0;
        byte* states = Shadow.Bytes + (uint)from;
        bool isWritten = false;
        for (ulong i = 0; i < to - from; i++)
        {
            if ((states[i] & 1) == 0 || host[i] == MemoryShadow.FreshFill) continue;
            states[i] &= (byte)~ByteState.Uninitialized;
            isWritten = true;
        }
        if (!isWritten)
        {
            CheckState.Of(cpu)->Source = address;
            return bits;
        }
        for (int i = 0; i < size; i++) state[i] &= (byte)~ByteState.Uninitialized;
        return 0;
    }

    public void ReportUnwritten(Cpu* cpu, UninitializedUse use, ulong instruction)
    {
        ulong source = CheckState.Of(cpu)->Source;
        if (IsNews(instruction, 3)) reports.UninitializedUsed(use, source, instruction);
        if (source != 0) Shadow.Remove(source, 8, ByteState.Uninitialized);
    }

    /// <summary>Once for each place and kind.</summary>
    bool IsNews(ulong instruction, int kind)
    {
        lock (gate) return told.Add((instruction, kind));
    }

    public void ReportStored(ulong address, ulong instruction)
    {
        if (IsNews(instruction, 4)) reports.ExchangedStored(address, instruction);
    }

    public void LeaveFrame(Cpu* cpu, ulong instruction) => reports.FrameLeft(cpu, instruction);

    /// <summary>Memory was copied as it is.</summary>
    public void Copied(Cpu* cpu, ulong from, ulong to, ulong length)
    {
        length = Reachable(cpu, to, length);
        ulong known = Math.Min(length, Reachable(cpu, from, length));
        if (known != 0) Shadow.Copied(from, to, known);
        else Written(cpu, to, length);
    }

    public void Written(Cpu* cpu, ulong address, ulong length)
    {
        length = Reachable(cpu, address, length);
        if (length != 0) Shadow.Remove(address, length, ByteState.Uninitialized);
    }

    // ---- Calls of the kernel

    enum MemoryRoutine { None, Copy, Fill, Compare }

    /// <summary>Routines that do for the driver what it could do itself: they touch what it means to touch.</summary>
    static readonly (MemoryRoutine Routine, int LengthRegister)[] Routines = [.. KernelExports.All.Select(export =>
    {
        const int rdx = 2, r8 = 8;
        return export.Name switch
        {
            "memcpy" or "memmove" or "RtlCopyMemory" or "RtlMoveMemory" or "RtlCopyMemoryNonTemporal" => (MemoryRoutine.Copy, r8),
            "memset" => (MemoryRoutine.Fill, r8),
            "RtlFillMemory" or "RtlZeroMemory" => (MemoryRoutine.Fill, rdx),
            "memcmp" or "RtlCompareMemory" => (MemoryRoutine.Compare, r8),
            _ => (MemoryRoutine.None, 0),
        };
    })];

    /// <summary>The processor is at a kernel routine's address.</summary>
    public void BeforeCall(Cpu* cpu)
    {
        if (reports.ExportAt(cpu->Rip) is not { } export) return;
        if (userTouched.Count > 0)
        {
            lock (gate) userTouched.Clear();
        }
        RequireWrittenArguments(cpu, export);
        (MemoryRoutine routine, int lengthRegister) = Routines[export.Index];
        if (routine == MemoryRoutine.None) return;
        ulong caller = ReturnAddress(cpu), length = cpu->Gpr[lengthRegister];
        CheckRange(cpu, cpu->Rcx, length, isWrite: routine != MemoryRoutine.Compare, caller);
        if (routine != MemoryRoutine.Fill) CheckRange(cpu, cpu->Rdx, length, isWrite: false, caller);
    }

    static ulong ReturnAddress(Cpu* cpu) =>
        GuestMemory.TryTranslate(cpu->Rsp, 8, PageAccess.Read, out byte* stack, out _) ? *(ulong*)stack : cpu->Rip;

    static ReadOnlySpan<byte> ArgumentRegisters => [1, 2, 8, 9];

    void RequireWrittenArguments(Cpu* cpu, KernelExport export)
    {
        string sizes = export.ParameterSizes;
        ulong* registers = (ulong*)CheckState.Of(cpu)->Registers;
        for (int i = 0; i < sizes.Length; i++)
        {
            int size = sizes[i] - '0';
            ulong mask = InspectionPlan.EveryByte >> (64 - 8 * size);
            if (i < ArgumentRegisters.Length)
            {
                ref ulong state = ref registers[ArgumentRegisters[i]];
                if ((state & mask) == 0) continue;
                state = 0;
            }
            else
            {
                ulong slot = cpu->Rsp + 8 + 8 * (ulong)i;
                if (!IsWatched(cpu, slot) || (Shadow.Of(slot, (ulong)size) & ByteState.Uninitialized) == 0 || Unwritten(cpu, slot, size) == 0) continue;
            }
            ReportUnwritten(cpu, UninitializedUse.Argument, ReturnAddress(cpu));
        }
    }

    /// <summary>The kernel routine has done its work.</summary>
    public void AfterCall(Cpu* cpu, ulong address, ulong first, ulong second)
    {
        if (reports.ExportAt(address) is { } export)
        {
            (MemoryRoutine routine, int lengthRegister) = Routines[export.Index];
            if (routine == MemoryRoutine.Copy) Copied(cpu, cpu->Rdx, cpu->Rcx, cpu->Gpr[lengthRegister]);
            else if (routine == MemoryRoutine.Fill) Written(cpu, cpu->Rcx, cpu->Gpr[lengthRegister]);
            reports.Returning(cpu, export, first, second);
        }
        CheckState.ForgetVolatile(cpu);
    }

    public void Dispose()
    {
        foreach (nint allocation in allocations) NativeMemory.Free((void*)allocation);
        allocations.Clear();
    }
}
