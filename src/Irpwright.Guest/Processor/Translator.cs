using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// Turns guest code into chains of operations and remembers, for every instruction it has seen, where its operations begin.
/// </summary>
/// <remarks>
/// The map from address to operation is an array per code page, found through an array per slice: a return or an indirect call is two
/// loads. Both live in memory that costs nothing until touched. Operations are published complete, by one pointer store, and are freed
/// with the machine.
/// </remarks>
sealed unsafe class Translator : IDisposable
{
    const int LongestChain = 192;
    const int PageEntries = (int)GuestMemory.PageSize;
    const int ArenaBytes = 256 << 10;

    readonly Lock gate = new();
    readonly ulong trapStart, trapEnd, returnAddress;
    readonly IInstructionSet instructions;
    readonly CodeBytes bytes = new();
    readonly Decoder decoder;
    readonly FlagLiveness liveness;
    readonly Instruction[] decoded = new Instruction[LongestChain];
    readonly Chain chain = new();
    readonly List<nint> allocations = [];
    Op* free, arenaEnd;

    public Translator(ulong codeBase, ulong trapStart, ulong trapEnd, ulong returnAddress, IInstructionSet instructions)
    {
        CodeBase = codeBase;
        this.trapStart = trapStart;
        this.trapEnd = trapEnd;
        this.returnAddress = returnAddress;
        this.instructions = instructions;
        decoder = Decoder.Create(64, bytes);
        liveness = new FlagLiveness();
        CodePages = (Op***)Allocate(GuestMemory.SliceSize / GuestMemory.PageSize * (ulong)sizeof(Op**));
        halt = NewOps(1);
        halt->Handler = &Branch.Halt;
    }

    readonly Op* halt;

    public ulong CodeBase { get; }

    public Op*** CodePages { get; }

    /// <summary>
    /// The operation for an address; if there can be none, the stop is recorded and the answer is an operation that ends the chain.
    /// </summary>
    public Op* Translate(Cpu* cpu, ulong rip)
    {
        lock (gate)
        {
            Op* op = Known(rip);
            if (op == null) op = rip == returnAddress || rip - trapStart < trapEnd - trapStart ? NewDestination(rip) : NewChain(rip);
            if (op != null) return op;
        }
        GuestMemory.TryTranslate(rip, 15, PageAccess.Execute, out _, out ulong faultAddress);
        Stop.FaultAt(cpu, rip, rip - CodeBase < GuestMemory.SliceSize ? faultAddress : rip, PageAccess.Execute);
        return halt;
    }

    public void Flush(ulong address, ulong length)
    {
        ulong first = address - CodeBase, last = first + length - 1;
        if (length == 0 || first >= GuestMemory.SliceSize) return;
        lock (gate)
        {
            ulong end = Math.Min(last, GuestMemory.SliceSize - 1) >> GuestMemory.PageShift;
            for (ulong page = first >> GuestMemory.PageShift; page <= end; page++)
            {
                if (CodePages[page] != null) new Span<nint>(CodePages[page], PageEntries).Clear();
            }
        }
    }

    Op* Known(ulong rip)
    {
        ulong offset = rip - CodeBase;
        if (offset >= GuestMemory.SliceSize) return null;
        Op** page = CodePages[offset >> GuestMemory.PageShift];
        return page == null ? null : page[offset & (PageEntries - 1)];
    }

    void Publish(ulong rip, Op* op)
    {
        ulong offset = rip - CodeBase;
        ref nint page = ref ((nint*)CodePages)[offset >> GuestMemory.PageShift];
        if (page == 0) Volatile.Write(ref page, (nint)Allocate((ulong)(PageEntries * sizeof(Op*))));
        ref nint entry = ref ((nint*)page)[offset & (PageEntries - 1)];
        if (entry == 0) Volatile.Write(ref entry, (nint)op);
    }

    /// <summary>An address that is not code: a C# routine, or the end of a run.</summary>
    Op* NewDestination(ulong rip)
    {
        Op* op = NewOps(1);
        op->Offset = (uint)(rip - CodeBase);
        op->Handler = rip == returnAddress ? &Branch.EndRun : instructions.Trap;
        Publish(rip, op);
        return op;
    }

    Op* NewChain(ulong rip)
    {
        if (rip - CodeBase >= GuestMemory.SliceSize) return null;
        int count = Decode(rip, out ulong next);
        if (count == 0) return null;
        ReadOnlySpan<Instruction> run = decoded.AsSpan(0, count);
        ReadOnlySpan<uint> live = liveness.Analyze(run, this);
        chain.Begin(CodeBase);
        for (int i = 0; i < count;)
            i += instructions.Emit(chain, run[i..], live[i..]);
        if (FallsThrough(run[^1])) chain.JumpTo(next, instructions.Jump);
        return Place();
    }

    /// <summary>Decodes a straight line: to the first instruction that never continues, or to one that is translated already.</summary>
    int Decode(ulong rip, out ulong next)
    {
        bytes.MoveTo(rip);
        decoder.IP = rip;
        next = rip;
        int count = 0;
        while (count < decoded.Length && (count == 0 || Known(next) == null))
        {
            decoder.Decode(out Instruction instruction);
            // Bytes that end in the middle of an instruction are not an instruction yet: running into them faults when it happens.
            if (decoder.LastError == DecoderError.NoMoreBytes) break;
            decoded[count++] = instruction;
            next = instruction.NextIP;
            if (!FallsThrough(instruction)) break;
        }
        return count;
    }

    /// <summary>For looking ahead: the instruction at an address, if it can be read.</summary>
    internal bool TryPeek(Decoder decoder, CodeBytes bytes, ulong rip, out Instruction instruction)
    {
        instruction = default;
        if (rip - CodeBase >= GuestMemory.SliceSize) return false;
        bytes.MoveTo(rip);
        decoder.IP = rip;
        decoder.Decode(out instruction);
        return !instruction.IsInvalid;
    }

    static bool FallsThrough(in Instruction instruction) => instruction.FlowControl
        is FlowControl.Next or FlowControl.ConditionalBranch or FlowControl.Call or FlowControl.IndirectCall && !instruction.IsInvalid;

    /// <summary>Copies the finished chain to its final place, resolves its own links, and makes it findable.</summary>
    Op* Place()
    {
        ReadOnlySpan<Op> ops = chain.Operations;
        ReadOnlySpan<Chain.Link> links = chain.Links;
        Op* placed = NewOps(ops.Length + links.Length);
        ops.CopyTo(new Span<Op>(placed, ops.Length));
        for (int i = 0; i < links.Length; i++)
        {
            Op* source = placed + links[i].Source;
            Op* link = placed + ops.Length + i;
            link->Handler = instructions.Link;
            link->Offset = (uint)(links[i].Target - CodeBase);
            link->Immediate = links[i].Target;
            link->Target = source;
            source->Target = link;
        }
        foreach (Chain.Entry entry in chain.Entries) Publish(entry.Rip, placed + entry.Index);
        return placed;
    }

    Op* NewOps(int count)
    {
        if (arenaEnd - free < count)
        {
            free = (Op*)Allocate(ArenaBytes);
            arenaEnd = free + ArenaBytes / sizeof(Op);
        }
        Op* ops = free;
        free += count;
        return ops;
    }

    void* Allocate(ulong size)
    {
        void* memory = NativeMemory.AllocZeroed((nuint)size);
        allocations.Add((nint)memory);
        return memory;
    }

    public void Dispose()
    {
        foreach (nint allocation in allocations) NativeMemory.Free((void*)allocation);
        allocations.Clear();
    }
}
