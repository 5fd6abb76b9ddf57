using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>nop and hints, single flags, fences, pause, hlt, cr8, rdtsc, cpuid, mxcsr, fxsave.</summary>
static unsafe class Control<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Nothing(Cpu* cpu, Op* op) => TMode.Next(cpu, op + 1);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Fence(Cpu* cpu, Op* op)
    {
        Interlocked.MemoryBarrier();
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Pause(Cpu* cpu, Op* op)
    {
        if (cpu->OnPause == null) return TMode.Next(cpu, op + 1);
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnPause(cpu);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Before an interlocked instruction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* BeforeInterlocked(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnInterlocked(cpu);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Until the next interrupt, which may come at any time: as long as others want to run.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Halt(Cpu* cpu, Op* op)
    {
        if ((cpu->SystemFlags & Rflag.Interrupt) == 0) return Stop.Because(cpu, op, StopReason.Halted);
        return Pause(cpu, op);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SetCarry(Cpu* cpu, Op* op)
    {
        cpu->Flags.SetCarry(op->Immediate != 0);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ComplementCarry(Cpu* cpu, Op* op)
    {
        cpu->Flags.SetCarry(!cpu->Flags.Carry);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SetSystemFlag(Cpu* cpu, Op* op)
    {
        cpu->SystemFlags |= (uint)op->Immediate;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ClearSystemFlag(Cpu* cpu, Op* op)
    {
        cpu->SystemFlags &= ~(uint)op->Immediate;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>cli and sti. What waited for interrupts happens at once, not one instruction later.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SetInterruptFlag(Cpu* cpu, Op* op)
    {
        uint flag = (uint)op->Immediate;
        if ((cpu->SystemFlags & Rflag.Interrupt) == flag) return TMode.Next(cpu, op + 1);
        cpu->SystemFlags ^= Rflag.Interrupt;
        if (cpu->OnInterruptFlag == null) return TMode.Next(cpu, op + 1);
        return TellInterruptFlag(cpu, op);
    }

    /// <summary>Enabling interrupts may run guest code on this processor, as lowering the IRQL does.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* TellInterruptFlag(Cpu* cpu, Op* op)
    {
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnInterruptFlag(cpu, (cpu->SystemFlags & Rflag.Interrupt) != 0);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadFlags(Cpu* cpu, Op* op)
    {
        *((byte*)&cpu->Rax + 1) = (byte)cpu->Rflags;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreFlags(Cpu* cpu, Op* op)
    {
        cpu->Flags.Set(*((byte*)&cpu->Rax + 1) | (cpu->Flags.Overflow ? Rflag.Overflow : 0));
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadIrql(Cpu* cpu, Op* op)
    {
        *(ulong*)((byte*)cpu + op->Destination) = *cpu->Irql;
        return TMode.Next(cpu, op + 1);
    }

    /// <summary>Lowering the IRQL lets the kernel deliver what waited for it, which may run guest code on this processor.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* WriteIrql(Cpu* cpu, Op* op)
    {
        ulong value = *(ulong*)((byte*)cpu + op->Source);
        if (value > 15) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        if (cpu->OnIrqlWrite == null)
        {
            *cpu->Irql = (byte)value;
            return TMode.Next(cpu, op + 1);
        }
        cpu->Rip = cpu->CodeBase + op->Offset;
        cpu->OnIrqlWrite(cpu, (byte)value);
        if (cpu->Stop != StopReason.None) return null;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* ReadTimestamp(Cpu* cpu, Op* op)
    {
        ulong time = SystemRegisters.Timestamp(cpu);
        cpu->Rax = (uint)time;
        cpu->Rdx = time >> 32;
        if (op->Immediate != 0) cpu->Rcx = cpu->Number; // rdtscp: TSC_AUX, where Windows keeps the processor's number
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Identify(Cpu* cpu, Op* op)
    {
        Identification.Query(cpu);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* LoadMxcsr(Cpu* cpu, Op* op)
    {
        byte* from = Far.Locate<TMode>(cpu, op, 4, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        uint value = *(uint*)from;
        if ((value & ~Rounding.ValidBits) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        cpu->Mxcsr = value;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* StoreMxcsr(Cpu* cpu, Op* op)
    {
        byte* to = Far.Locate<TMode>(cpu, op, 4, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        *(uint*)to = cpu->Mxcsr;
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* SaveState(Cpu* cpu, Op* op)
    {
        byte* to = Far.Locate<TMode>(cpu, op, StateImage.SizeOf, PageAccess.Write);
        if (to == null) return TMode.Missed(cpu, op);
        if (((nuint)to & 15) != 0) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        StateImage.Save(cpu, to);
        return TMode.Next(cpu, op + 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* RestoreState(Cpu* cpu, Op* op)
    {
        byte* from = Far.Locate<TMode>(cpu, op, StateImage.SizeOf, PageAccess.Read);
        if (from == null) return TMode.Missed(cpu, op);
        if (((nuint)from & 15) != 0 || !StateImage.TryRestore(cpu, from)) return Stop.Fault(cpu, op, ulong.MaxValue, PageAccess.None);
        return TMode.Next(cpu, op + 1);
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        Handler handler = Select(instruction, out ulong constant);
        if (handler == null) return false;
        bool hasMemory = instruction.Mnemonic is Mnemonic.Ldmxcsr or Mnemonic.Stmxcsr
            or Mnemonic.Fxsave or Mnemonic.Fxsave64 or Mnemonic.Fxrstor or Mnemonic.Fxrstor64;
        ref Op op = ref (hasMemory ? ref chain.AddWithMemory<TMode>(instruction) : ref chain.Add(instruction));
        op.Handler = handler;
        op.Immediate = constant;
        if (instruction.Mnemonic == Mnemonic.Mov)
        {
            if (instruction.Op0Register == Register.CR8) op.Source = OperandEncoding.OffsetOf(instruction.Op1Register);
            else op.Destination = OperandEncoding.OffsetOf(instruction.Op0Register);
        }
        return true;
    }

    static Handler Select(in Instruction instruction, out ulong constant)
    {
        constant = instruction.Mnemonic switch
        {
            Mnemonic.Stc or Mnemonic.Rdtscp => 1,
            Mnemonic.Cld or Mnemonic.Std => Rflag.Direction,
            Mnemonic.Sti => Rflag.Interrupt,
            _ => 0u,
        };
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Nop or Mnemonic.Fnop or Mnemonic.Endbr64 or Mnemonic.Endbr32 or Mnemonic.Reservednop
                or Mnemonic.Clflush or Mnemonic.Wbinvd or Mnemonic.Invlpg or Mnemonic.Prefetcht0 or Mnemonic.Prefetcht1 or Mnemonic.Prefetcht2
                or Mnemonic.Prefetchnta or Mnemonic.Prefetchw or Mnemonic.Prefetch:
                return &Nothing;
            case Mnemonic.Pause: return &Pause;
            case Mnemonic.Mfence or Mnemonic.Lfence or Mnemonic.Sfence: return &Fence;
            case Mnemonic.Clc or Mnemonic.Stc: return &SetCarry;
            case Mnemonic.Cmc: return &ComplementCarry;
            case Mnemonic.Hlt: return &Halt;
            case Mnemonic.Cld: return &ClearSystemFlag;
            case Mnemonic.Std: return &SetSystemFlag;
            case Mnemonic.Cli or Mnemonic.Sti: return &SetInterruptFlag;
            case Mnemonic.Lahf: return &LoadFlags;
            case Mnemonic.Sahf: return &StoreFlags;
            case Mnemonic.Mov when instruction.Op1Register == Register.CR8: return &ReadIrql;
            case Mnemonic.Mov when instruction.Op0Register == Register.CR8: return &WriteIrql;
            case Mnemonic.Rdtsc or Mnemonic.Rdtscp: return &ReadTimestamp;
            case Mnemonic.Cpuid: return &Identify;
            case Mnemonic.Ldmxcsr: return &LoadMxcsr;
            case Mnemonic.Stmxcsr: return &StoreMxcsr;
            case Mnemonic.Fxsave or Mnemonic.Fxsave64: return &SaveState;
            case Mnemonic.Fxrstor or Mnemonic.Fxrstor64: return &RestoreState;
            default: return null;
        }
    }
}

/// <summary>The 512 bytes of <c>fxsave</c>. There is no x87: it is saved as just initialised, and not restored.</summary>
static unsafe class StateImage
{
    public const int SizeOf = 512;
    const int MxcsrOffset = 24, MxcsrMaskOffset = 28, VectorOffset = 160, ReservedOffset = 416;
    const ushort InitialControlWord = 0x37F;

    public static void Save(Cpu* cpu, byte* to)
    {
        // The last 96 bytes belong to software.
        new Span<byte>(to, ReservedOffset).Clear();
        *(ushort*)to = InitialControlWord;
        *(uint*)(to + MxcsrOffset) = cpu->Mxcsr;
        *(uint*)(to + MxcsrMaskOffset) = Rounding.ValidBits;
        new Span<byte>(cpu->Xmm, 16 * 16).CopyTo(new Span<byte>(to + VectorOffset, 16 * 16));
    }

    /// <summary>False for an mxcsr that no processor takes.</summary>
    public static bool TryRestore(Cpu* cpu, byte* from)
    {
        uint mxcsr = *(uint*)(from + MxcsrOffset);
        if ((mxcsr & ~Rounding.ValidBits) != 0) return false;
        cpu->Mxcsr = mxcsr;
        new Span<byte>(from + VectorOffset, 16 * 16).CopyTo(new Span<byte>(cpu->Xmm, 16 * 16));
        return true;
    }
}

/// <summary>What <c>cpuid</c> answers: the same on every host, so that a driver takes the same path everywhere.</summary>
/// <remarks>
/// A plain x64 processor under a hypervisor, which announces what is modelled: up to SSE4.2, BMI1, BMI2 and cmpxchg16b, but no AVX, AES,
/// XSAVE, MMX. It does announce x87, which every x64 processor has, although no x87 instruction is modelled: kernel code uses none.
/// </remarks>
static unsafe class Identification
{
    // Leaf 1, edx: FPU DE PSE TSC MSR PAE CX8 APIC SEP PGE CMOV PAT PSE36 CLFSH FXSR SSE SSE2.
    const uint Features = 1u << 0 | 1 << 2 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 6 | 1 << 8 | 1 << 9 | 1 << 11 | 1 << 13 | 1 << 15 | 1 << 16 | 1 << 17
        | 1 << 19 | 1 << 24 | 1 << 25 | 1 << 26;
    // Leaf 1, ecx: SSE3 SSSE3 CX16 SSE4.1 SSE4.2 MOVBE POPCNT, and "a hypervisor is present".
    const uint MoreFeatures = 1u << 0 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 22 | 1 << 23 | 1u << 31;
    // Leaf 7, ebx: FSGSBASE BMI1 BMI2.
    const uint StructuredFeatures = 1u << 0 | 1 << 3 | 1 << 8;
    // Leaf 80000001, edx: SYSCALL NX RDTSCP long mode; ecx: lahf in 64-bit mode, LZCNT, PREFETCHW.
    const uint ExtendedFeatures = 1u << 11 | 1u << 20 | 1u << 27 | 1u << 29, MoreExtendedFeatures = 1 << 0 | 1 << 5 | 1 << 8;
    // Leaf 80000007, edx: the time stamp counter always runs at the same rate.
    const uint InvariantTimestamp = 1 << 8;

    public static void Query(Cpu* cpu)
    {
        (uint a, uint b, uint c, uint d) = (uint)cpu->Rax switch
        {
            0 => (7u, Text("Genu"), Text("ntel"), Text("ineI")),
            // Family 6, model 3Ch, stepping 3: the first with these features. clflush handles 64 bytes.
            1 => (0x0003_06C3u, cpu->Number << 24 | 0x0001_0800u, MoreFeatures, Features),
            7 when (uint)cpu->Rcx == 0 => (0u, StructuredFeatures, 0u, 0u),
            0x4000_0000 => (0x4000_0000u, Text("Irpw"), Text("righ"), Text("t   ")),
            0x8000_0000 => (0x8000_0008u, 0u, 0u, 0u),
            0x8000_0001 => (0u, 0u, MoreExtendedFeatures, ExtendedFeatures),
            0x8000_0002 => (Text("Irpw"), Text("righ"), Text("t x6"), Text("4 pr")),
            0x8000_0003 => (Text("oces"), Text("sor\0"), 0u, 0u),
            0x8000_0007 => (0u, 0u, 0u, InvariantTimestamp),
            0x8000_0008 => (0x3028u, 0u, 0u, 0u),
            _ => (0u, 0u, 0u, 0u),
        };
        (cpu->Rax, cpu->Rbx, cpu->Rcx, cpu->Rdx) = (a, b, c, d);
    }

    static uint Text(string four) => (uint)(four[0] | four[1] << 8 | four[2] << 16 | four[3] << 24);
}
