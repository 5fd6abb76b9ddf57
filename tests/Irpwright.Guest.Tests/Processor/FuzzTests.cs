using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>
/// Goal: no code, however broken or hostile, does more than stop the processor, and code that is sound ends as on the real one.
/// Method: streams of random bytes, of random instructions, and of both.
/// </summary>
/// <remarks>
/// <c>IRPWRIGHT_FUZZ_STREAMS</c> sets their number (default 100,000), <c>IRPWRIGHT_FUZZ_SEED</c> the seed. A failure names the seed of its
/// stream.
/// </remarks>
public sealed unsafe class FuzzTests : IDisposable
{
    /// <summary>Streams that share one translator, so that what is translated stays bounded.</summary>
    const int StreamsPerInterpreter = 200;
    const int Branches = 300, LongestStream = 160, BufferSize = 1024;

    static readonly int Streams = ReadSetting("IRPWRIGHT_FUZZ_STREAMS", 100_000), Seed = ReadSetting("IRPWRIGHT_FUZZ_SEED", 1);

    readonly GuestProgram guest = new(), neighbour = new();
    readonly InstructionForm[] forms;
    readonly ulong[] registers = new ulong[16];
    readonly byte[] data = new byte[GuestProgram.DataSize], stack = new byte[GuestProgram.StackSize], code = new byte[GuestProgram.CodeSize];
    ulong rip, faultAddress;
    readonly byte* irql = (byte*)NativeMemory.AllocZeroed(1);

    public FuzzTests()
    {
        guest.Cpu->Irql = irql;
        guest.Cpu->OnTrap = &Trap;
        GuestMemory.UserPages[(UserData - GuestMemory.UserBase) >> GuestMemory.PageShift] = (byte)PageAccess.ReadWrite;
        GuestMemory.Write(neighbour.Data, GuestProgram.DataSize).Fill(0xA5);
        forms = [.. InstructionForms.All.Where(IsModelled)];

        // A routine of the kernel; sometimes there is none.
        static void Trap(Cpu* cpu, ulong address)
        {
            cpu->Rax = address;
            if ((address & 0x100) == 0) return;
            cpu->FaultAddress = address;
            cpu->FaultAccess = PageAccess.Execute;
            cpu->Stop = StopReason.Fault;
        }
    }

    ulong UserData => guest.Data - GuestMemory.KernelBase + GuestMemory.UserBase;

    public void Dispose()
    {
        guest.Dispose();
        neighbour.Dispose();
        NativeMemory.Free(irql);
    }

    static int ReadSetting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), out int value) ? value : otherwise;

    [Fact]
    public void Any_stream_of_bytes_ends_with_a_reason_and_touches_nothing_else()
    {
        var reasons = new SortedDictionary<StopReason, int>();
        for (int i = 0; i < Streams; i++)
        {
            int seed = Mix(Seed, i);
            if (i % StreamsPerInterpreter == 0) guest.Renew(threaded: true);
            StopReason reason = Try(seed, threaded: true);
            reasons[reason] = reasons.GetValueOrDefault(reason) + 1;
        }
        TestContext.Current.TestOutputHelper?.WriteLine(string.Join(", ", reasons.Select(pair => $"{pair.Value} {pair.Key}")));
        Assert.DoesNotContain(StopReason.None, reasons.Keys);
        Assert.True(GuestMemory.Read(neighbour.Data, GuestProgram.DataSize).IndexOfAnyExcept((byte)0xA5) < 0, "another machine's memory was written");
        // Not everything fails at its first instruction.
        Assert.True(reasons.GetValueOrDefault(StopReason.Returned) > Streams / 100 && reasons.GetValueOrDefault(StopReason.BudgetSpent) > 0);
    }

    /// <summary>The two forms of the interpreter share their handlers, but not the way from one to the next.</summary>
    [Fact]
    public void Both_forms_of_the_interpreter_end_alike()
    {
        for (int i = 0; i < Streams / 200; i++)
        {
            int seed = Mix(Seed, -1 - i);
            guest.Renew(threaded: true);
            StopReason threaded = Try(seed, threaded: true);
            string first = State(threaded);
            guest.Renew(threaded: false);
            StopReason looped = Try(seed, threaded: false);
            Assert.True(first == State(looped), $"stream {seed}:\n{first}\n{State(looped)}");
        }
    }

    static int Mix(int seed, int number) => unchecked((int)((uint)seed * 0x9E3779B1 ^ (uint)number * 0x85EBCA77));

    StopReason Try(int seed, bool threaded)
    {
        try
        {
            return RunStream(new Random(seed));
        }
        catch (Exception e)
        {
            throw new InvalidOperationException($"Stream {seed} ({(threaded ? "threaded" : "looped")}) threw.", e);
        }
    }

    StopReason RunStream(Random random)
    {
        byte[] stream = NewStream(random);
        bool writable = random.Next(2) == 0;
        GuestProgram.Protect(guest.Code, GuestProgram.CodeSize, PageAccess.Read | PageAccess.Execute | (writable ? PageAccess.Write : 0));
        Span<byte> memory = GuestMemory.Write(guest.Data, GuestProgram.DataSize);
        memory.Clear();
        random.NextBytes(memory[..0x800]);
        GuestMemory.Write(guest.StackLimit, GuestProgram.StackSize).Clear();
        int start = random.Next(4) == 0 ? 0xFF0 : 0;
        new Span<byte>(GuestMemory.Translate(guest.Code, GuestProgram.CodeSize, PageAccess.Execute), GuestProgram.CodeSize).Clear();
        guest.Place(guest.Code + (ulong)start, stream);
        Cpu* cpu = guest.Cpu;
        Cpu fresh = *cpu;
        for (int i = 0; i < 16; i++) cpu->Gpr[i] = Register(random);
        for (int i = 0; i < 16; i++) cpu->XmmRegister(i) = new UInt128(OperandValues.Vector(random), OperandValues.Vector(random));
        if (random.Next(8) != 0) cpu->Rsp = guest.StackBase - 0x100;
        cpu->Rflags = (uint)random.Next() & 0x400CD5 | 0x200;
        cpu->Mxcsr = random.Next(8) == 0 ? (uint)random.Next(0x10000) : 0x1F80;
        cpu->GsBase = guest.Data;
        cpu->FsBase = Register(random);
        cpu->Budget = Branches;
        *irql = 0;
        cpu->Rsp -= 0x28;
        if (GuestMemory.IsAccessible(cpu->Rsp, 8, PageAccess.Write)) GuestMemory.Ref<ulong>(cpu->Rsp) = guest.Interpreter.ReturnAddress;
        StopReason reason = Interpreter.Run(cpu, guest.Code + (ulong)start);
        for (int i = 0; i < 16; i++) registers[i] = cpu->Gpr[i];
        rip = cpu->Rip;
        faultAddress = reason == StopReason.Fault ? cpu->FaultAddress : 0;
        *cpu = fresh;
        return reason;
    }

    string State(StopReason reason)
    {
        GuestMemory.Read(guest.Data, data.Length).CopyTo(data);
        GuestMemory.Read(guest.StackLimit, stack.Length).CopyTo(stack);
        GuestMemory.Read(guest.Code, code.Length).CopyTo(code);
        var hash = new HashCode();
        hash.AddBytes(data);
        hash.AddBytes(stack);
        hash.AddBytes(code);
        return $"{reason} at {rip:X} fault {faultAddress:X} irql {*irql} registers {string.Join(' ', registers.Select(r => r.ToString("X")))} memory {hash.ToHashCode():X}";
    }

    /// <summary>Where things are, near where things are, and anything else.</summary>
    ulong Register(Random random)
    {
        ulong near = (ulong)random.Next(-64, 64);
        return random.Next(12) switch
        {
            0 or 1 or 2 => guest.Data + 0x400 + (near & ~15UL),
            3 => guest.Data + (ulong)random.Next(5) * 0x1000 + near,
            4 => guest.StackBase - (ulong)random.Next(0x400),
            5 => guest.Code + (ulong)random.Next(0x1100),
            6 => guest.Trap + (ulong)random.Next(0x40) * 16,
            7 => UserData + near,
            8 => GuestAccess.SharedUserData + 0x300 + near,
            9 => (ulong)random.Next(64),
            10 => guest.StackLimit + near,
            _ => OperandValues.Integer(random),
        };
    }

    byte[] NewStream(Random random)
    {
        int kind = random.Next(4);
        var stream = new MemoryStream();
        if (kind == 0)
        {
            var raw = new byte[random.Next(1, LongestStream)];
            random.NextBytes(raw);
            return raw;
        }
        while (stream.Length < LongestStream - 15)
        {
            WriteInstruction(stream, random);
            if (random.Next(24) == 0) break;
        }
        stream.WriteByte(0xC3);
        byte[] bytes = stream.ToArray();
        // Some bytes changed: prefixes, other operands, instructions that begin in the middle of others.
        for (int i = kind == 1 ? random.Next(1, 4) : 0; i > 0; i--) bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        return bytes;
    }

    void WriteInstruction(MemoryStream stream, Random random)
    {
        switch (random.Next(12))
        {
            case 0: // a conditional jump or a loop, near by
                stream.Write([(byte)(random.Next(8) == 0 ? 0xE0 + random.Next(4) : 0x70 + random.Next(16)), (byte)random.Next(-32, 48)]);
                return;
            case 1:
                stream.Write([(byte)(0x50 + random.Next(16))]); // push or pop
                return;
            case 2 when random.Next(3) == 0: // call or jmp, near by
                stream.Write([(byte)(0xE8 + random.Next(2)), .. BitConverter.GetBytes(random.Next(-64, 96))]);
                return;
            case 3 when random.Next(3) == 0: // call or jmp through a register or through memory
                stream.Write([0xFF, (byte)(random.Next(2) * 0xC0 | (2 + 2 * random.Next(2)) << 3 | random.Next(8))]);
                return;
            case 4 when random.Next(4) == 0: // flags, interrupts, cr8, debug registers, model-specific registers, port access
                byte[][] rare = [[0xFA], [0xFB], [0xFC], [0xFD], [0xF8], [0xF9], [0x9C], [0x9D], [0x44, 0x0F, 0x20, 0xC0], [0x44, 0x0F, 0x22, 0xC1],
                    [0x0F, 0x21, 0xD8], [0x0F, 0x32], [0x0F, 0xA2], [0x0F, 0x31], [0x0F, 0x22, 0xC1], [0x0F, 0x20, 0xC0], [0xEC], [0x6C], [0xF4], [0xC9],
                    [0xC8, 8, 0, 0], [0xD7], [0xCF], [0xCB], [0x0F, 0x01, 0xF8], [0xDD, 0x00], [0xC5, 0xF8, 0x77]];
                stream.Write(rare[random.Next(rare.Length)]);
                return;
        }
        for (int attempt = 0; attempt < 20; attempt++)
        {
            if (!InstructionForms.TryCreate(forms[random.Next(forms.Length)], random, out Instruction instruction)) continue;
            if (!HostOracleTests.TryEncode(instruction, out byte[] bytes)) continue;
            stream.Write(bytes);
            return;
        }
    }

    /// <summary>
    /// A stream of sound instructions ends with the registers, flags and memory that the real processor leaves. Flags that the manuals
    /// leave open are never read.
    /// </summary>
    [Fact]
    public void A_stream_of_sound_instructions_ends_as_on_the_real_processor()
    {
        Assert.SkipUnless(HostProcessor.IsAvailable, "needs an x64 host to compare with");
        InstructionForm[] sound = [.. forms.Where(IsSound)];
        using var host = new HostProcessor();
        int compared = 0;
        for (int i = 0; i < Streams / 5; i++)
        {
            if (i % StreamsPerInterpreter == 0) guest.Renew(threaded: true);
            int seed = Mix(Seed, i);
            if (Compare(sound, host, new Random(seed)) is not { } difference) continue;
            compared++;
            Assert.True(difference.Length == 0, $"stream {seed}: {difference}");
        }
        Assert.True(compared > Streams / 5 * 9 / 10, $"only {compared} streams were compared");
    }

    bool IsModelled(InstructionForm form)
    {
        var random = new Random(Seed);
        for (int attempt = 0; attempt < 20; attempt++)
        {
            if (!InstructionForms.TryCreate(form, random, out Instruction instruction) || !HostOracleTests.TryEncode(instruction, out byte[] bytes)) continue;
            guest.Place(guest.Code, [.. bytes, 0xCC]);
            return Interpreter.Run(guest.Cpu, guest.Code) is not (StopReason.Unimplemented or StopReason.IllegalInstruction);
        }
        return false;
    }

    /// <summary>Empty: agrees. Null: an instruction is not modelled.</summary>
    string? Compare(InstructionForm[] sound, HostProcessor host, Random random)
    {
        var text = new StringWriter();
        using var stream = new MemoryStream();
        RflagsBits defined = (RflagsBits)0xFFFF;
        for (int count = random.Next(4, 24); count > 0;)
        {
            if (!InstructionForms.TryCreate(sound[random.Next(sound.Length)], random, out Instruction instruction)) continue;
            if ((instruction.RflagsRead & ~defined) != 0 || !HostOracleTests.TryEncode(instruction, out byte[] bytes)) continue;
            stream.Write(bytes);
            text.Write($"{instruction}; ");
            defined &= ~OpenFlags(instruction);
            // A shift by nothing leaves everything as it was, defined or not.
            if (!IsShift(instruction.Mnemonic)) defined |= instruction.RflagsModified & ~OpenFlags(instruction);
            count--;
        }
        HostState state;
        byte* buffer = GuestMemory.Translate(guest.Data, BufferSize, PageAccess.ReadWrite);
        for (int i = 0; i < 16; i++) state.Gpr[i] = OperandValues.Integer(random);
        for (int i = 0; i < 32; i++) state.Xmm[i] = OperandValues.Vector(random);
        (state.Rflags, state.Mxcsr) = (2 | (uint)random.Next(0x1000) & 0x8D5, 0x1F80);
        (state.Gpr[14], state.Gpr[15]) = ((ulong)buffer + 0x200, (ulong)buffer + 0x240);
        (state.Gpr[10], state.Gpr[11]) = ((ulong)(16 * random.Next(-2, 3)), (ulong)(16 * random.Next(-2, 3)));
        var memory = new byte[BufferSize];
        random.NextBytes(memory);

        guest.Place(guest.Code, [.. stream.ToArray(), 0xCC]);
        memory.CopyTo(new Span<byte>(buffer, BufferSize));
        Cpu* cpu = guest.Cpu;
        ulong delta = guest.Data - (ulong)buffer;
        for (int i = 0; i < 16; i++)
        {
            if (i != 4) cpu->Gpr[i] = state.Gpr[i] + (i >= 14 ? delta : 0);
            cpu->XmmRegister(i) = new UInt128(state.Xmm[2 * i + 1], state.Xmm[2 * i]);
        }
        (cpu->Rflags, cpu->Mxcsr, cpu->Budget) = (state.Rflags, state.Mxcsr, Branches);
        StopReason reason = Interpreter.Run(cpu, guest.Code);
        if (reason is StopReason.Unimplemented or StopReason.IllegalInstruction) return null;
        if (reason != StopReason.Breakpoint) return $"{text}: {reason}";
        byte[] memoryOfGuest = new Span<byte>(buffer, BufferSize).ToArray();
        memory.CopyTo(new Span<byte>(buffer, BufferSize));
        host.Load(stream.ToArray());
        host.Run(&state);

        for (int i = 0; i < 16; i++)
        {
            if (i == 4) continue;
            ulong expected = state.Gpr[i] + (i >= 14 ? delta : 0);
            if (cpu->Gpr[i] != expected) return $"{text}: {Iced.Intel.Register.RAX + i} is {cpu->Gpr[i]:X}, expected {expected:X}";
            UInt128 vector = new(state.Xmm[2 * i + 1], state.Xmm[2 * i]);
            if (cpu->XmmRegister(i) != vector) return $"{text}: XMM{i} is {cpu->XmmRegister(i):X32}, expected {vector:X32}";
        }
        uint mask = HostOracleTests.ToRflags(defined);
        if (((cpu->Rflags ^ state.Rflags) & mask) != 0) return $"{text}: flags {cpu->Rflags & mask:X}, expected {state.Rflags & mask:X}";
        int at = memoryOfGuest.AsSpan().CommonPrefixLength(new ReadOnlySpan<byte>(buffer, BufferSize));
        return at == BufferSize ? "" : $"{text}: memory+{at:X} is {memoryOfGuest[at]:X2}, expected {buffer[at]:X2}";
    }

    static bool IsShift(Mnemonic mnemonic) => mnemonic is Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld
        or Mnemonic.Shrd or Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr;

    /// <summary>Flags that an instruction may leave undefined: for shifts that depends on the count, so all that may be.</summary>
    static RflagsBits OpenFlags(in Instruction instruction) => instruction.Mnemonic switch
    {
        Mnemonic.Shl or Mnemonic.Sal or Mnemonic.Shr or Mnemonic.Sar or Mnemonic.Shld or Mnemonic.Shrd => RflagsBits.OF | RflagsBits.AF | RflagsBits.CF,
        Mnemonic.Rol or Mnemonic.Ror or Mnemonic.Rcl or Mnemonic.Rcr => RflagsBits.OF,
        _ => instruction.RflagsUndefined,
    };

    /// <summary>
    /// What always runs and leaves nothing open: no division, nothing that addresses memory by registers which the stream changes, no
    /// arithmetic that makes a NaN of two.
    /// </summary>
    static bool IsSound(InstructionForm form)
    {
        if (!HostProcessor.Has(form.Code)) return false;
        Instruction probe = default;
        probe.Code = form.Code;
        if (probe.IsStringInstruction || form.Rep || form.Repne) return false;
        bool isBitString = form.Memory && form.Code.Mnemonic() is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc;
        bool isNarrowShift = form.Code is Code.Shld_rm16_r16_CL or Code.Shld_rm16_r16_imm8 or Code.Shrd_rm16_r16_CL or Code.Shrd_rm16_r16_imm8;
        return !isBitString && !isNarrowShift && !IsFloatingPoint(form.Code) && form.Code.Mnemonic()
            is not (Mnemonic.Div or Mnemonic.Idiv or Mnemonic.Lea or Mnemonic.Xlatb or Mnemonic.Maskmovdqu or Mnemonic.Lar or Mnemonic.Lsl
            or Mnemonic.Verr or Mnemonic.Verw or Mnemonic.Rdrand or Mnemonic.Rdseed or Mnemonic.Rdpid);
    }

    static bool IsFloatingPoint(Code code)
    {
        Instruction probe = default;
        probe.Code = code;
        return VectorFloat.Find(probe) != null || code.Mnemonic() is Mnemonic.Cvtss2sd or Mnemonic.Cvtsd2ss or Mnemonic.Cvtps2pd or Mnemonic.Cvtpd2ps;
    }
}
