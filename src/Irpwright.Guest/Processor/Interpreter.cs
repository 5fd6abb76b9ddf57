using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Iced.Intel;
using Irpwright.Guest.Checks;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// Executes guest code of one machine: translates it into chains of operations once, and runs them for any number of processors.
/// </summary>
/// <remarks>
/// Thread-safe: every guest thread has its own <see cref="Cpu"/>; the chains are shared. Code that changes is followed from the next
/// instruction on, whoever writes it and through whichever mapping. Only a C# driver that writes it through a reference calls
/// <see cref="Flush"/>.
/// </remarks>
public sealed unsafe class Interpreter : IDisposable
{
    readonly ulong codeBase;
    readonly IInstructionSet instructions;
    readonly Translator translator;
    GCHandle self;

    /// <param name="codeBase">First address of the machine's slice in the kernel window; code runs nowhere else.</param>
    /// <param name="trapStart">First address that belongs to C# routines.</param>
    /// <param name="trapEnd">First address after them.</param>
    public Interpreter(ulong codeBase, ulong trapStart, ulong trapEnd) : this(codeBase, trapStart, trapEnd, TailCalls.Work) { }

    /// <param name="checks">What watches every access; null for nobody. Belongs to the interpreter.</param>
    internal Interpreter(ulong codeBase, ulong trapStart, ulong trapEnd, bool threaded, MemoryChecks? checks = null)
    {
        RuntimeHelpers.RunClassConstructor(typeof(GuestMemory).TypeHandle); // so that handlers are compiled with its addresses as constants
        self = GCHandle.Alloc(this);
        this.codeBase = codeBase;
        ReturnAddress = codeBase + 0xFFFF0;
        Checks = checks;
        instructions = (threaded, checks) switch
        {
            (true, null) => new InstructionSet<Threaded>(),
            (false, null) => new InstructionSet<Looped>(),
            (true, _) => new CheckedInstructionSet<Threaded>(checks),
            (false, _) => new CheckedInstructionSet<Looped>(checks),
        };
        translator = new Translator(codeBase, trapStart, trapEnd, ReturnAddress, instructions);
    }

    /// <summary>
    /// Reads the decoder's tables, which the first instruction of a process waits for otherwise. That takes about half as long as to make the
    /// first machine, so a program that is in a hurry calls it on another thread meanwhile.
    /// </summary>
    public static void Prepare() => Decoder.Create(64, [0x90]).Decode();

    internal MemoryChecks? Checks { get; }

    /// <summary>The address to push before <see cref="Run"/>: returning there ends the run. Nothing is mapped at it.</summary>
    public ulong ReturnAddress { get; }

    /// <summary>Code of the host for an address of the trap range, looked up once; 0 to have every call go to <see cref="Cpu.OnTrap"/>.</summary>
    public Func<ulong, nint>? ThunkAt { get => translator.ThunkAt; init => translator.ThunkAt = value; }

    /// <summary>
    /// Whether <see cref="Cpu.OnInterlocked"/> is called before each interlocked instruction: where threads that share memory meet. Code that
    /// is translated without costs nothing.
    /// </summary>
    public bool StopsAtInterlocked { get => translator.StopsAtInterlocked; init => translator.StopsAtInterlocked = value; }

    /// <summary>A processor with everything zero; the caller sets stack, gs base and callbacks.</summary>
    public Cpu* CreateCpu()
    {
        Cpu* cpu = (Cpu*)NativeMemory.AlignedAlloc(Cpu.SizeOf + CheckState.SizeOf, 64);
        NativeMemory.Clear(cpu, Cpu.SizeOf + CheckState.SizeOf);
        Checks?.Prepare(cpu);
        cpu->Interpreter = GCHandle.ToIntPtr(self);
        cpu->CodeBase = codeBase;
        cpu->CodePages = translator.CodePages;
        cpu->Host = GuestMemory.HostBase + (codeBase & GuestMemory.HostMask);
        cpu->OnMiss = instructions.Miss;
        cpu->OnUnknown = instructions.Unknown;
        cpu->Budget = long.MaxValue;
        cpu->AmpleStack = nuint.MaxValue;
        cpu->Mxcsr = 0x1F80;
        cpu->Rflags = Rflag.Interrupt;
        cpu->Cr0 = SystemRegisters.InitialCr0;
        cpu->Cr4 = SystemRegisters.InitialCr4;
        cpu->Debug[6] = SystemRegisters.InitialDr6;
        cpu->Debug[7] = SystemRegisters.InitialDr7;
        return cpu;
    }

    /// <summary>Whether the instruction at an address has been translated, which happens when it is first reached.</summary>
    public bool HasReached(ulong address) => translator.Find(address) != null;

    public static void FreeCpu(Cpu* cpu) => NativeMemory.AlignedFree(cpu);

    /// <summary>
    /// Runs from <paramref name="rip"/> until something stops it. Runs nest: a trap callback may run the same processor again.
    /// </summary>
    /// <returns>Never <see cref="StopReason.None"/>; the details are in <paramref name="cpu"/>.</returns>
    public static StopReason Run(Cpu* cpu, ulong rip)
    {
        byte here;
        if ((nuint)(&here) < cpu->AmpleStack && !RuntimeHelpers.TryEnsureSufficientExecutionStack())
        {
            cpu->Rip = rip;
            return StopReason.HostStackOverflow;
        }
        cpu->Stop = StopReason.None;
        Op* op = Branch.Find(cpu, rip);
        while (op != null) op = op->Handler(cpu, op);
        StopReason reason = cpu->Stop;
        cpu->Stop = StopReason.None;
        return reason;
    }

    /// <summary>Forgets what was translated from a range: its code is gone or has changed.</summary>
    public void Flush(ulong address, ulong length) => translator.Flush(address, length);

    /// <summary>The instruction at an address as text with its bytes, for a report: <c>48 8B 01  mov rax,[rcx]</c>.</summary>
    public static string Describe(ulong rip)
    {
        Instruction instruction = Decode(rip);
        string bytes = BytesOf(instruction);
        if (bytes.Length == 0) return "(no code)";
        string hex = string.Join(' ', bytes.ToUpperInvariant().Chunk(2).Select(value => new string(value)));
        return instruction.IsInvalid ? $"{hex}  (bad)" : $"{hex}  {instruction}";
    }

    /// <summary>The bytes of an instruction that was decoded, in hexadecimal; at least one, or none where there is no code.</summary>
    internal static string BytesOf(in Instruction instruction)
    {
        ulong length = (ulong)Math.Max(instruction.Length, 1);
        return GuestMemory.TryTranslate(instruction.IP, length, PageAccess.Execute, out byte* host, out _)
            ? Convert.ToHexStringLower(new ReadOnlySpan<byte>(host, (int)length)) : "";
    }

    /// <summary>The instruction at an address; an invalid one where there is no code.</summary>
    internal static Instruction Decode(ulong rip)
    {
        var reader = new CodeBytes();
        reader.MoveTo(rip);
        Decoder decoder = Decoder.Create(64, reader);
        decoder.IP = rip;
        return decoder.Decode();
    }

    internal static Interpreter Of(Cpu* cpu) => (Interpreter)GCHandle.FromIntPtr(cpu->Interpreter).Target!;

    /// <summary>Memory of the machine is about to be written although its page does not allow it.</summary>
    internal void Written(ulong address, int size)
    {
        for (int i = 0; i < size; i++) translator.Written(address + (ulong)i);
    }

    internal Op* Translate(Cpu* cpu, ulong rip) => translator.Translate(cpu, rip);

    public void Dispose()
    {
        translator.Dispose();
        Checks?.Dispose();
        if (self.IsAllocated) self.Free();
    }
}
