using System.Text;
using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>
/// Goal: every instruction does exactly what the real processor does. Method: each form that the interpreter knows runs with random and
/// edge operands on both, from the same registers, flags and memory; all three must agree afterwards, except for flags that the manuals
/// leave undefined.
/// </summary>
/// <remarks>
/// <c>IRPWRIGHT_ORACLE_CASES</c> sets the number of cases per form (default 1000), <c>IRPWRIGHT_ORACLE_SEED</c> the seed.
/// </remarks>
public sealed unsafe class HostOracleTests : IDisposable
{
    const int CasesPerInstance = 50, BufferSize = 1024;
    const uint Carry = 1, Parity = 4, Adjust = 0x10, Zero = 0x40, Sign = 0x80, Direction = 0x400, Overflow = 0x800;
    const uint Arithmetic = Carry | Parity | Adjust | Zero | Sign | Overflow;

    readonly GuestProgram guest = new();
    readonly HostProcessor? host = HostProcessor.IsAvailable ? new HostProcessor() : null;
    readonly Random random = new(ReadSetting("IRPWRIGHT_ORACLE_SEED", 1));
    readonly int cases = ReadSetting("IRPWRIGHT_ORACLE_CASES", 1000);
    ulong guestBuffer;
    readonly byte[] memoryBefore = new byte[BufferSize], memoryOfGuest = new byte[BufferSize];

    /// <summary>The data area through the user window, which no handler finds by itself.</summary>
    ulong UserView => guest.Data - GuestMemory.KernelBase + GuestMemory.UserBase;

    public HostOracleTests() =>
        GuestMemory.UserPages[(UserView - GuestMemory.UserBase) >> GuestMemory.PageShift] = (byte)PageAccess.ReadWrite;

    public void Dispose()
    {
        guest.Dispose();
        host?.Dispose();
    }

    static int ReadSetting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out int value) ? value : otherwise;

    [Fact]
    public void Every_instruction_form_does_what_the_real_processor_does()
    {
        Assert.SkipUnless(HostProcessor.IsAvailable, "needs an x64 host to compare with");
        int forms = 0;
        var failures = new List<string>();
        var unsupported = new SortedSet<string>();
        var absent = new SortedSet<string>();
        foreach (InstructionForm form in InstructionForms.All)
        {
            if (!HostProcessor.Has(form.Code))
            {
                absent.Add(form.ToString());
                continue;
            }
            switch (Compare(form))
            {
                case null: unsupported.Add(form.Code.Mnemonic().ToString()); break;
                case "": forms++; break;
                case var failure: failures.Add(failure); break;
            }
        }
        TestContext.Current.TestOutputHelper?.WriteLine($"{forms} forms agree; not modelled: {string.Join(' ', unsupported)}");
        if (absent.Count > 0) TestContext.Current.TestOutputHelper?.WriteLine($"not compared, as this host lacks them: {string.Join(' ', absent)}");
        Assert.True(failures.Count == 0, $"{failures.Count} forms differ:\n" + string.Join('\n', failures.Take(60)));
        Assert.True(forms + absent.Count >= MinimumForms, $"only {forms} forms were compared");
    }

    /// <summary>So that a form which silently stops being modelled is noticed.</summary>
    const int MinimumForms = 1700;

    /// <summary>Empty: agrees. Null: not modelled. Otherwise the first difference.</summary>
    string? Compare(InstructionForm form)
    {
        int done = 0;
        for (int attempt = 0; done < cases && attempt < 20 * cases / CasesPerInstance + 20; attempt++)
        {
            if (!InstructionForms.TryCreate(form, random, out Instruction instruction)) continue;
            if (!TryLoad(instruction, out bool keepFlags)) continue;
            for (int i = 0; i < CasesPerInstance; i++)
            {
                if (!TryCase(instruction, keepFlags, out string? difference)) return null;
                if (difference == null) continue;
                if (difference.Length > 0) return $"{form}: {difference}";
                done++;
            }
        }
        return done == 0 ? null : done < cases ? $"{form}: only {done} cases could be run" : "";
    }

    /// <summary>
    /// Places the instruction on both sides. In every fourth guest a comparison follows, so that the flags are dead and the cheaper
    /// handler runs.
    /// </summary>
    bool TryLoad(Instruction instruction, out bool keepFlags)
    {
        keepFlags = random.Next(4) != 0;
        guestBuffer = random.Next(8) == 0 ? UserView : guest.Data;
        if (!TryEncode(instruction, out byte[] bytes)) return false;
        host!.Load(bytes);
        byte[] end = keepFlags ? [0xCC] : [0x39, 0xC0, 0xCC];
        guest.Place(guest.Code, [.. bytes, .. end]);
        return true;
    }

    [Fact]
    public void Every_condition_after_a_comparison_decides_as_the_real_processor_does()
    {
        Assert.SkipUnless(HostProcessor.IsAvailable, "needs an x64 host to compare with");
        var failures = new List<string>();
        foreach (InstructionForm form in InstructionForms.All.Where(form => form.Code.Mnemonic() is Mnemonic.Cmp or Mnemonic.Test))
        {
            for (int condition = 0; condition < 16; condition++) CompareJump(form, condition, failures);
        }
        Assert.True(failures.Count == 0, string.Join('\n', failures.Take(40)));
    }

    /// <summary>
    /// A jump whose flags nobody else reads is fused with the comparison; in every second guest somebody does, and it is not.
    /// </summary>
    void CompareJump(InstructionForm form, int condition, List<string> failures)
    {
        for (int attempt = 0, done = 0; done < Math.Max(cases / 16, 1); attempt++)
        {
            if (!InstructionForms.TryCreate(form, random, out Instruction instruction)) continue;
            if (!TryEncode(instruction, out byte[] compare)) continue;
            byte[] end = attempt % 2 == 0 ? [0x39, 0xC0, 0xCC] : [0x90, 0x90, 0xCC];
            guest.Place(guest.Code, [.. compare, (byte)(0x70 | condition), 3, .. end, .. end]);
            host!.Load([.. compare, 0x0F, (byte)(0x90 | condition), 0xC0]);
            for (int i = 0; i < 8; i++, done++)
            {
                HostState state;
                ulong buffer = (ulong)GuestMemory.Translate(guest.Data, BufferSize, PageAccess.ReadWrite);
                uint pointers = Prepare(instruction, &state, buffer);
                if (random.Next(3) == 0) new Span<ulong>((void*)buffer, BufferSize / 8).Fill(state.Gpr[random.Next(2)]);
                HostState before = state;
                StopReason reason = RunGuest(&state, pointers, guest.Data - buffer);
                host.Run(&state);
                ulong expected = guest.Code + (ulong)compare.Length + 4 + ((byte)state.Gpr[0] != 0 ? 3u : 0u);
                if (reason == StopReason.Breakpoint && guest.Cpu->Rip == expected) continue;
                failures.Add($"{instruction}, condition {condition:X}, {(attempt % 2 == 0 ? "fused" : "separate")}: "
                    + $"{reason} at +{guest.Cpu->Rip - guest.Code}; rax {before.Gpr[0]:X}");
                return;
            }
        }
    }

    /// <summary>
    /// Goal: no handler uses host stack, however long the chain. Method: a chain of many times the same instruction ends in an operation
    /// that notes where the stack is.
    /// </summary>
    [Fact]
    public void Every_instruction_form_continues_by_a_jump()
    {
        Assert.SkipUnless(HostProcessor.IsAvailable, "operands are made as for the real processor");
        Assert.SkipWhen(Environment.GetEnvironmentVariable("DOTNET_JITMinOpts") == "1", "the compiler was told not to");
        Assert.True(TailCalls.Work);
        const int Length = 40;
        int measured = 0;
        var failures = new List<string>();
        foreach (InstructionForm form in InstructionForms.All)
        {
            Instruction instruction;
            while (!InstructionForms.TryCreate(form, random, out instruction) && random.Next(50) != 0) { }
            if (!TryEncode(instruction, out byte[] bytes) || form.Code.Mnemonic() is Mnemonic.Div or Mnemonic.Idiv) continue;
            HostState state;
            ulong buffer = (ulong)GuestMemory.Translate(guest.Data, BufferSize, PageAccess.ReadWrite);
            uint pointers = Prepare(instruction, &state, buffer);
            state.Gpr[1] = 0; // string instructions and shifts do nothing then, and stay in the buffer
            guest.Place(guest.Code, [.. Enumerable.Repeat(bytes, Length).SelectMany(copy => copy), 0xCC]);
            ulong end = guest.Code + (ulong)(bytes.Length * Length);
            Branch.Find(guest.Cpu, guest.Code);
            Branch.Find(guest.Cpu, end)->Handler = &TailCalls.Measure;
            if (RunGuest(&state, pointers, guest.Data - buffer) != StopReason.None) continue; // not modelled, or a fault
            ulong deep = guest.Cpu->Temporary;
            measured++;
            Interpreter.Run(guest.Cpu, end);
            if (guest.Cpu->Temporary - deep >= Length * 8) failures.Add($"{form}: {guest.Cpu->Temporary - deep} bytes of stack");
        }
        Assert.True(failures.Count == 0, string.Join('\n', failures.Take(40)));
        Assert.True(measured > MinimumForms * 9 / 10, $"only {measured} forms were measured");
    }

    internal static bool TryEncode(Instruction instruction, out byte[] bytes)
    {
        using var stream = new MemoryStream();
        bool encoded = Iced.Intel.Encoder.Create(64, new StreamCodeWriter(stream)).TryEncode(instruction, 0, out _, out _);
        bytes = stream.ToArray();
        return encoded;
    }

    /// <summary>False: not modelled. Difference null: this case cannot run on the real processor; empty: both agree.</summary>
    bool TryCase(in Instruction instruction, bool keepFlags, out string? difference)
    {
        HostState before;
        ulong hostBuffer = (ulong)GuestMemory.Translate(guest.Data, BufferSize, PageAccess.ReadWrite);
        uint pointers = Prepare(instruction, &before, hostBuffer);
        ulong delta = guestBuffer - hostBuffer;
        var buffer = new Span<byte>((void*)hostBuffer, pointers == 0 ? 0 : BufferSize);
        for (int i = 0; i < buffer.Length; i += 8) BitConverter.TryWriteBytes(memoryBefore.AsSpan(i), OperandValues.Vector(random));
        memoryBefore.AsSpan(0, buffer.Length).CopyTo(buffer);

        StopReason reason = RunGuest(&before, pointers, delta);
        difference = null;
        if (reason is StopReason.Unimplemented or StopReason.IllegalInstruction) return false;
        if (reason is StopReason.DivideError or StopReason.Fault or StopReason.FloatingPointMode || IsUndefined(instruction, &before)) return true;
        if (reason != StopReason.Breakpoint)
        {
            difference = $"stopped: {reason}";
            return true;
        }
        buffer.CopyTo(memoryOfGuest);
        memoryBefore.AsSpan(0, buffer.Length).CopyTo(buffer);
        HostState after = before;
        host!.Run(&after);
        difference = Differences(instruction, &before, &after, keepFlags, pointers, delta, buffer);
        return true;
    }

    /// <summary>
    /// Random registers that keep every access inside the buffer. Returns the registers that hold addresses, as a bit mask.
    /// </summary>
    uint Prepare(in Instruction instruction, HostState* state, ulong hostBuffer)
    {
        for (int i = 0; i < 16; i++) state->Gpr[i] = OperandValues.Integer(random);
        for (int i = 0; i < 32; i++) state->Xmm[i] = OperandValues.Vector(random);
        // Every fourth case rounds in one of the four ways.
        state->Mxcsr = 0x1F80 | (random.Next(4) == 0 ? (uint)random.Next(4) << 13 : 0);
        state->Rflags = 2 | (uint)random.Next(0x1000) & Arithmetic;
        uint pointers = 0;
        bool isVector = instruction.IsStringInstruction || instruction.MemorySize.GetSize() >= 16;
        if (instruction.Mnemonic != Mnemonic.Lea && instruction.MemoryBase != Register.None)
        {
            int number = instruction.MemoryBase - Register.RAX;
            state->Gpr[number] = hostBuffer + 256 + (ulong)(isVector ? 16 * random.Next(4) : random.Next(64));
            pointers |= 1u << number;
            ulong index = (ulong)(isVector ? 16 * random.Next(-1, 2) : random.Next(-8, 8));
            if (instruction.MemoryIndex.IsGPR64()) state->Gpr[instruction.MemoryIndex - Register.RAX] = index;
            // A bit number in a register reaches beyond the operand.
            bool isBit = instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc;
            if (isBit && instruction.Op1Kind == OpKind.Register)
            {
                ref ulong bit = ref state->Gpr[instruction.Op1Register.GetFullRegister() - Register.RAX];
                ulong near = (ulong)random.Next(-512, 512);
                bit = instruction.Op1Register.GetSize() == 8 ? near : (uint)near | (bit & ~0xFFFFFFFFUL);
            }
        }
        if (instruction.Mnemonic == Mnemonic.Maskmovdqu)
        {
            state->Gpr[7] = hostBuffer + 400 + (ulong)random.Next(64);
            pointers |= 1u << 7;
        }
        if (instruction.IsStringInstruction)
        {
            state->Gpr[6] = hostBuffer + 400 + (ulong)random.Next(64);
            state->Gpr[7] = hostBuffer + 400 + (ulong)random.Next(64);
            pointers |= 1u << 6 | 1u << 7;
            if (instruction.HasRepPrefix || instruction.HasRepnePrefix) state->Gpr[1] = (ulong)random.Next(24);
            if (random.Next(2) == 0) state->Rflags |= Direction;
        }
        if (instruction.Mnemonic is Mnemonic.Div or Mnemonic.Idiv && random.Next(4) != 0)
            state->Gpr[2] = random.Next(3) switch { 0 => 0, 1 => (ulong)random.Next(16), _ => ulong.MaxValue };
        return pointers;
    }

    StopReason RunGuest(HostState* state, uint pointers, ulong delta)
    {
        Cpu* cpu = guest.Cpu;
        for (int i = 0; i < 16; i++)
        {
            if (i != 4) cpu->Gpr[i] = state->Gpr[i] + ((pointers >> i & 1) != 0 ? delta : 0);
        }
        for (int i = 0; i < 16; i++) cpu->XmmRegister(i) = new UInt128(state->Xmm[2 * i + 1], state->Xmm[2 * i]);
        cpu->Rflags = state->Rflags;
        cpu->Mxcsr = state->Mxcsr;
        return Interpreter.Run(cpu, guest.Code);
    }

    string Differences(
        in Instruction instruction, HostState* before, HostState* after,
        bool keepFlags, uint pointers, ulong delta, ReadOnlySpan<byte> memory)
    {
        var text = new StringBuilder();
        for (int i = 0; i < 16; i++)
        {
            if (i == 4) continue;
            ulong expected = after->Gpr[i] + ((pointers >> i & 1) != 0 ? delta : 0);
            if (guest.Cpu->Gpr[i] != expected)
                text.Append($" {Register.RAX + i} {guest.Cpu->Gpr[i]:X} expected {expected:X} (was {before->Gpr[i]:X})");
        }
        for (int i = 0; i < 16; i++)
        {
            UInt128 expected = new(after->Xmm[2 * i + 1], after->Xmm[2 * i]), actual = guest.Cpu->XmmRegister(i);
            if (actual != expected && !AreSameNumbers(actual, expected, IsEstimate(instruction.Mnemonic))) text.Append($" XMM{i} {actual:X32} expected {expected:X32}");
        }
        uint mask = keepFlags ? DefinedFlags(instruction, before) : 0;
        uint flags = (uint)guest.Cpu->Rflags, flagsExpected = (uint)after->Rflags;
        if (((flags ^ flagsExpected) & mask) != 0)
            text.Append($" flags {flags & mask:X} expected {flagsExpected & mask:X} (were {before->Rflags:X}, mask {mask:X})");
        if (!memory.SequenceEqual(memoryOfGuest.AsSpan(0, memory.Length)))
        {
            int at = memory.CommonPrefixLength(memoryOfGuest);
            text.Append($" memory+{at:X} {memoryOfGuest[at]:X2} expected {memory[at]:X2} (was {memoryBefore[at]:X2})");
        }
        if (text.Length == 0) return "";
        string registers = $"rax {before->Gpr[0]:X} rcx {before->Gpr[1]:X} rdx {before->Gpr[2]:X}";
        return $"{instruction}:{text}; {registers}{(keepFlags ? "" : " (flags dead)")}";
    }

    static bool IsEstimate(Mnemonic mnemonic) => mnemonic is Mnemonic.Rcpps or Mnemonic.Rcpss or Mnemonic.Rsqrtps or Mnemonic.Rsqrtss;

    /// <summary>Which payload a NaN made of two NaNs has is not worth imitating; estimates may differ as much as their manual says.</summary>
    static bool AreSameNumbers(UInt128 actual, UInt128 expected, bool estimate)
    {
        bool floats = true, doubles = true;
        for (int i = 0; i < 4; i++)
        {
            uint a = (uint)(actual >> 32 * i), e = (uint)(expected >> 32 * i);
            float one = BitConverter.UInt32BitsToSingle(a), other = BitConverter.UInt32BitsToSingle(e);
            floats &= a == e || (float.IsNaN(one) && float.IsNaN(other)) || (estimate && AreClose(one, other));
        }
        for (int i = 0; i < 2; i++)
        {
            ulong a = (ulong)(actual >> 64 * i), e = (ulong)(expected >> 64 * i);
            doubles &= a == e || (double.IsNaN(BitConverter.UInt64BitsToDouble(a)) && double.IsNaN(BitConverter.UInt64BitsToDouble(e)));
        }
        return floats || doubles;
    }

    static bool AreClose(double one, double other) =>
        Math.Sign(one) == Math.Sign(other) && Math.Abs(one - other) <= 2 * 1.5 / 4096 * Math.Max(Math.Abs(one), Math.Abs(other));

    /// <summary>A double shift by more bits than the operand has.</summary>
    static bool IsUndefined(in Instruction instruction, HostState* before) =>
        instruction.Mnemonic is Mnemonic.Shld or Mnemonic.Shrd && ShiftCount(instruction, before, out int size) > size;

    static int ShiftCount(in Instruction instruction, HostState* before, out int size)
    {
        size = (instruction.Op0Kind == OpKind.Register ? instruction.Op0Register.GetSize() : instruction.MemorySize.GetSize()) * 8;
        ulong count = instruction.GetOpKind(instruction.OpCount - 1) == OpKind.Register ? before->Gpr[1] : instruction.Immediate8;
        return (int)count & (size == 64 ? 63 : 31);
    }

    /// <summary>The flags whose value the manuals define for this instruction and count.</summary>
    static uint DefinedFlags(in Instruction instruction, HostState* before)
    {
        bool isShift = instruction.Mnemonic
            is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld or Mnemonic.Shrd;
        bool isRotate = instruction.Mnemonic is Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr;
        if (!isShift && !isRotate) return Arithmetic & ~ToRflags(instruction.RflagsUndefined);
        int count = ShiftCount(instruction, before, out int size);
        if (count == 0) return Arithmetic;
        uint undefined = isShift ? Adjust : 0;
        if (count != 1) undefined |= Overflow;
        if (isShift && count >= size) undefined |= Carry;
        return Arithmetic & ~undefined;
    }

    internal static uint ToRflags(RflagsBits bits) =>
        (bits.HasFlag(RflagsBits.CF) ? Carry : 0) | (bits.HasFlag(RflagsBits.PF) ? Parity : 0)
        | (bits.HasFlag(RflagsBits.AF) ? Adjust : 0) | (bits.HasFlag(RflagsBits.ZF) ? Zero : 0)
        | (bits.HasFlag(RflagsBits.SF) ? Sign : 0) | (bits.HasFlag(RflagsBits.OF) ? Overflow : 0);
}
