using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Iced.Intel;
using static Iced.Intel.AssemblerRegisters;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>Registers as the host's processor loads and stores them around one instruction.</summary>
[StructLayout(LayoutKind.Explicit, Size = 0x200)]
unsafe struct HostState
{
    [FieldOffset(0x00)] public fixed ulong Gpr[16];
    [FieldOffset(0x80)] public ulong Rflags;
    [FieldOffset(0x88)] public uint Mxcsr;
    [FieldOffset(0x100)] public fixed ulong Xmm[32];
}

/// <summary>Executes single instructions on the real processor: the reference that the interpreter is compared with.</summary>
/// <remarks>The instruction must not fault, branch, or use rsp.</remarks>
sealed unsafe partial class HostProcessor : IDisposable
{
    const int Size = 0x1000, FrameSize = 0xC8, StateSlot = 0xA0, RaxSlot = 0xA8, MxcsrSlot = 0xB0;

    /// <summary>Room for what <see cref="Load"/> takes.</summary>
    public const int InstructionBytes = 0x400;
    const int LongestJump = 5;

    static readonly AssemblerRegister64[] Registers = [rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15];
    static readonly AssemblerRegisterXMM[] Vectors =
        [xmm0, xmm1, xmm2, xmm3, xmm4, xmm5, xmm6, xmm7, xmm8, xmm9, xmm10, xmm11, xmm12, xmm13, xmm14, xmm15];

    readonly byte* memory;
    readonly int instructionOffset;

    public HostProcessor()
    {
        memory = OperatingSystem.IsWindows()
            ? (byte*)VirtualAlloc(0, Size, 0x3000, 0x40)
            : (byte*)Mmap(0, Size, 7, OperatingSystem.IsMacOS() ? 0x1002 : 0x22, -1, 0);
        if (memory == null || memory == (byte*)-1) throw new InvalidOperationException("The host refuses writable code.");
        byte[] before = Assemble(WriteLoad, 0);
        instructionOffset = before.Length;
        byte[] after = Assemble(WriteStore, instructionOffset + InstructionBytes + LongestJump);
        before.CopyTo(new Span<byte>(memory, before.Length));
        after.CopyTo(new Span<byte>(memory + instructionOffset + InstructionBytes + LongestJump, after.Length));
    }

    public static bool IsAvailable => RuntimeInformation.ProcessArchitecture == Architecture.X64;

    /// <summary>Whether this host has the extension that an instruction belongs to.</summary>
    public static bool Has(Code code) => code.CpuidFeatures().ToArray().All(Has);

    static bool Has(CpuidFeature feature) => feature switch
    {
        CpuidFeature.SSE3 => Sse3.IsSupported,
        CpuidFeature.SSSE3 => Ssse3.IsSupported,
        CpuidFeature.SSE4_1 => Sse41.IsSupported,
        CpuidFeature.SSE4_2 => Sse42.IsSupported,
        CpuidFeature.POPCNT => Popcnt.IsSupported,
        CpuidFeature.LZCNT => Lzcnt.IsSupported,
        CpuidFeature.BMI1 => Bmi1.IsSupported,
        CpuidFeature.BMI2 => Bmi2.IsSupported,
        CpuidFeature.MOVBE => (X86Base.CpuId(1, 0).Ecx & 1 << 22) != 0,
        CpuidFeature.CMPXCHG16B => (X86Base.CpuId(1, 0).Ecx & 1 << 13) != 0,
        _ => true,
    };

    /// <summary>Puts an instruction, or several that fit, in place.</summary>
    public void Load(ReadOnlySpan<byte> instructions)
    {
        // The rest is skipped by a jump.
        var slot = new Span<byte>(memory + instructionOffset, InstructionBytes + LongestJump);
        instructions.CopyTo(slot);
        slot[instructions.Length] = 0xE9;
        BitConverter.TryWriteBytes(slot[(instructions.Length + 1)..], InstructionBytes - instructions.Length);
    }

    public void Run(HostState* state) => ((delegate* unmanaged<HostState*, void>)memory)(state);

    byte[] Assemble(Action<Assembler> write, int offset)
    {
        var assembler = new Assembler(64);
        write(assembler);
        using var stream = new MemoryStream();
        assembler.Assemble(new StreamCodeWriter(stream), (ulong)memory + (ulong)offset);
        return stream.ToArray();
    }

    static void WriteLoad(Assembler c)
    {
        foreach (AssemblerRegister64 register in (AssemblerRegister64[])[rbx, rbp, rsi, rdi, r12, r13, r14, r15]) c.push(register);
        c.sub(rsp, FrameSize);
        for (int i = 6; i < 16; i++) c.movups(__[rsp + 16 * (i - 6)], Vectors[i]);
        c.mov(rax, OperatingSystem.IsWindows() ? rcx : rdi);
        c.mov(__qword_ptr[rsp + StateSlot], rax);
        c.stmxcsr(__dword_ptr[rsp + MxcsrSlot]);
        c.ldmxcsr(__dword_ptr[rax + 0x88]);
        for (int i = 0; i < 16; i++) c.movups(Vectors[i], __[rax + 0x100 + 16 * i]);
        c.push(__qword_ptr[rax + 0x80]);
        c.popfq();
        for (int i = 1; i < 16; i++)
        {
            if (i != 4) c.mov(Registers[i], __qword_ptr[rax + 8 * i]);
        }
        c.mov(rax, __qword_ptr[rax]);
    }

    static void WriteStore(Assembler c)
    {
        c.mov(__qword_ptr[rsp + RaxSlot], rax);
        c.mov(rax, __qword_ptr[rsp + StateSlot]);
        for (int i = 1; i < 16; i++)
        {
            if (i != 4) c.mov(__qword_ptr[rax + 8 * i], Registers[i]);
        }
        c.mov(rcx, __qword_ptr[rsp + RaxSlot]);
        c.mov(__qword_ptr[rax], rcx);
        c.pushfq();
        c.pop(__qword_ptr[rax + 0x80]);
        c.cld();
        c.stmxcsr(__dword_ptr[rax + 0x88]);
        c.ldmxcsr(__dword_ptr[rsp + MxcsrSlot]);
        for (int i = 0; i < 16; i++) c.movups(__[rax + 0x100 + 16 * i], Vectors[i]);
        for (int i = 6; i < 16; i++) c.movups(Vectors[i], __[rsp + 16 * (i - 6)]);
        c.add(rsp, FrameSize);
        foreach (AssemblerRegister64 register in (AssemblerRegister64[])[r15, r14, r13, r12, rdi, rsi, rbp, rbx]) c.pop(register);
        c.ret();
    }

    public void Dispose()
    {
        _ = OperatingSystem.IsWindows() ? VirtualFree((nint)memory, 0, 0x8000) : Munmap((nint)memory, Size);
    }

    [LibraryImport("libc", EntryPoint = "mmap")]
    private static partial nint Mmap(nint address, nuint length, int protection, int flags, int file, long offset);

    [LibraryImport("libc", EntryPoint = "munmap")]
    private static partial int Munmap(nint address, nuint length);

    [LibraryImport("kernel32")]
    private static partial nint VirtualAlloc(nint address, nuint size, uint allocationType, uint protection);

    [LibraryImport("kernel32")]
    private static partial int VirtualFree(nint address, nuint size, uint freeType);
}
