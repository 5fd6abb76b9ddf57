using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Turns guest code into chains of operations.</summary>
sealed unsafe class Translator : IDisposable
{
    const int LongestChain = 192;

    readonly Lock gate = new();
    readonly ulong codeBase, trapStart, trapEnd, returnAddress;
    readonly IInstructionSet instructions;
    readonly CodeCache cache;
    readonly CodeBytes bytes;
    readonly Decoder decoder;
    readonly FlagLiveness liveness;
    readonly Instruction[] decoded = new Instruction[LongestChain];
    readonly Chain chain = new();
    readonly HashSet<ulong> pages = [];
    readonly Op* halt;

    public Translator(ulong codeBase, ulong trapStart, ulong trapEnd, ulong returnAddress, IInstructionSet instructions)
    {
        this.codeBase = codeBase;
        this.trapStart = trapStart;
        this.trapEnd = trapEnd;
        this.returnAddress = returnAddress;
        this.instructions = instructions;
        cache = new CodeCache(codeBase, gate, instructions.Stale);
        bytes = new CodeBytes(Reading);
        decoder = Decoder.Create(64, bytes);
        liveness = new FlagLiveness(new CodeBytes(Reading));
        halt = cache.NewOps(1);
        halt->Handler = &Branch.Halt;
    }

    public Op*** CodePages => cache.CodePages;

    public Func<ulong, nint>? ThunkAt { get; set; }

    public bool StopsAtInterlocked { get; set; }

    /// <summary>
    /// The operation for an address; if there can be none, the stop is recorded and the answer is an operation that ends the chain.
    /// </summary>
    public Op* Translate(Cpu* cpu, ulong rip)
    {
        lock (gate)
        {
            Op* op = cache.Find(rip);
            if (op == null) op = rip == returnAddress || rip - trapStart < trapEnd - trapStart ? NewDestination(rip) : NewChain(rip);
            if (op != null) return op;
        }
        GuestMemory.TryTranslate(rip, 15, PageAccess.Execute, out _, out ulong faultAddress);
        Stop.FaultAt(cpu, rip, rip - codeBase < GuestMemory.SliceSize ? faultAddress : rip, PageAccess.Execute);
        return halt;
    }

    public Op* Find(ulong rip) => cache.Find(rip);

    public void Flush(ulong address, ulong length) => cache.Flush(address, length);

    /// <summary>Memory of this slice is about to be written past every check.</summary>
    public void Written(ulong address) => cache.Written(address & (GuestMemory.SliceSize - 1), 1);

    // Watched before it is read: whatever is written afterwards is noticed.
    ulong* Reading(ulong address)
    {
        ulong page = address - codeBase >> GuestMemory.PageShift;
        if (page >= GuestMemory.SliceSize >> GuestMemory.PageShift) return null;
        pages.Add(page);
        return cache.Watch(page);
    }

    /// <summary>An address that is not code: a C# routine, or the end of a run.</summary>
    Op* NewDestination(ulong rip)
    {
        Op* op = cache.NewOps(1);
        op->Offset = (uint)(rip - codeBase);
        op->Immediate = rip == returnAddress || ThunkAt == null ? 0 : (ulong)ThunkAt(rip);
        op->Handler = rip == returnAddress ? &Branch.EndRun : op->Immediate != 0 ? instructions.Thunk : instructions.Trap;
        cache.Publish(rip, op);
        return op;
    }

    Op* NewChain(ulong rip)
    {
        if (rip - codeBase >= GuestMemory.SliceSize) return null;
        pages.Clear();
        int count = Decode(rip, cache.ChangesOften(rip) ? 1 : LongestChain, out ulong next);
        if (count == 0) return null;
        ReadOnlySpan<Instruction> run = decoded.AsSpan(0, count);
        ReadOnlySpan<uint> live = liveness.Analyze(run, this);
        chain.Begin(codeBase);
        for (int i = 0; i < count;)
        {
            chain.BeginInstruction(run[i]);
            if (StopsAtInterlocked && IsInterlocked(run[i])) chain.Add(run[i]).Handler = instructions.BeforeInterlocked;
            i += instructions.Emit(chain, run[i..], live[i..]);
        }
        if (FallsThrough(run[^1])) chain.JumpTo(next, instructions.Jump);
        return Place();
    }

    /// <summary>Decodes a straight line: to the first instruction that never continues, or to one that is translated already.</summary>
    int Decode(ulong rip, int longest, out ulong next)
    {
        bytes.MoveTo(rip);
        decoder.IP = rip;
        next = rip;
        int count = 0;
        while (count < longest && (count == 0 || cache.Find(next) == null))
        {
            decoder.Decode(out Instruction instruction);
            // Bytes that end in the middle of an instruction are not an instruction yet: running into them faults when it happens.
            if (decoder.LastError == DecoderError.NoMoreBytes) break;
            decoded[count++] = instruction;
            next = instruction.NextIP;
            if (!FallsThrough(instruction) || (instructions.EndsAtBranches && instruction.FlowControl == FlowControl.ConditionalBranch)) break;
        }
        return count;
    }

    /// <summary>For looking ahead: the instruction at an address, if it can be read.</summary>
    internal bool TryPeek(Decoder decoder, CodeBytes bytes, ulong rip, out Instruction instruction)
    {
        instruction = default;
        if (rip - codeBase >= GuestMemory.SliceSize) return false;
        bytes.MoveTo(rip);
        decoder.IP = rip;
        decoder.Decode(out instruction);
        return !instruction.IsInvalid;
    }

    static bool IsInterlocked(in Instruction instruction) =>
        instruction.HasLockPrefix || instruction.Mnemonic == Mnemonic.Xchg && instruction.Op0Kind == OpKind.Memory;

    static bool FallsThrough(in Instruction instruction) => instruction.FlowControl
        is FlowControl.Next or FlowControl.ConditionalBranch or FlowControl.Call or FlowControl.IndirectCall && !instruction.IsInvalid;

    /// <summary>Copies the finished chain to its final place, resolves its own links, and makes it findable.</summary>
    Op* Place()
    {
        ReadOnlySpan<Op> ops = chain.Operations;
        ReadOnlySpan<Chain.Link> links = chain.Links;
        Op* placed = cache.NewOps(ops.Length + links.Length);
        ops.CopyTo(new Span<Op>(placed, ops.Length));
        for (int i = 0; i < links.Length; i++)
        {
            Op* source = placed + links[i].Source;
            Op* link = placed + ops.Length + i;
            link->Handler = instructions.Link;
            link->Offset = (uint)(links[i].Target - codeBase);
            link->Immediate = links[i].Target;
            link->Target = source;
            source->Target = link;
        }
        cache.Add(placed, ops.Length, pages);
        foreach (Chain.Entry entry in chain.Entries) cache.Publish(entry.Rip, placed + entry.Index);
        return placed;
    }

    public void Dispose() => cache.Dispose();
}
