using System.Runtime.CompilerServices;
using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>movs stos lods cmps scas ins outs with and without a repeat prefix.</summary>
/// <remarks>
/// A repeated instruction advances its registers piece by piece, so that a fault in the middle finds them as the hardware would leave
/// them. A piece ends at a page boundary, is one element of a device's, and costs one unit of budget; a run whose budget ends goes on with the rest.
/// </remarks>
static unsafe class Strings<TMode> where TMode : struct, IMode
{
    enum Repeat : byte { None, While, WhileEqual, WhileNotEqual }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Move<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth => MoveAll<TWidth>(cpu, op) ? TMode.Next(cpu, op + 1) : null;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Store<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth => StoreAll<TWidth>(cpu, op) ? TMode.Next(cpu, op + 1) : null;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Load<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth => LoadAll<TWidth>(cpu, op) ? TMode.Next(cpu, op + 1) : null;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Compare<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth =>
        CompareAll<TWidth>(cpu, op, scan: false) ? TMode.Next(cpu, op + 1) : null;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Scan<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth =>
        CompareAll<TWidth>(cpu, op, scan: true) ? TMode.Next(cpu, op + 1) : null;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Input<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (cpu->OnPortRead == null) return Stop.Because(cpu, op, StopReason.Privileged);
        return InputAll<TWidth>(cpu, op) ? TMode.Next(cpu, op + 1) : null;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Output<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (cpu->OnPortWrite == null) return Stop.Because(cpu, op, StopReason.Privileged);
        return OutputAll<TWidth>(cpu, op) ? TMode.Next(cpu, op + 1) : null;
    }

    /// <summary>Elements that can be handled at once: up to the next page boundary, at least one.</summary>
    static ulong Piece(Cpu* cpu, Op* op, ulong size, ulong first, ulong second)
    {
        if (op->Extra == (byte)Repeat.None || IsBackward(cpu) || DeviceAccess.IsDevice(first) || DeviceAccess.IsDevice(second)) return 1;
        ulong room = GuestMemory.PageSize - Math.Max(first & (GuestMemory.PageSize - 1), second & (GuestMemory.PageSize - 1));
        return Math.Clamp(room / size, 1, cpu->Rcx);
    }

    static bool IsBackward(Cpu* cpu) => (cpu->SystemFlags & Rflag.Direction) != 0;

    static ulong Advance(Cpu* cpu, ulong bytes) => IsBackward(cpu) ? 0 - bytes : bytes;

    /// <summary>After a piece: whether there is more to do. False with <see cref="Cpu.Stop"/> set when the budget is spent.</summary>
    static bool Continues(Cpu* cpu, Op* op, ulong done)
    {
        if (op->Extra == (byte)Repeat.None) return false;
        cpu->Rcx -= done;
        if (cpu->Rcx == 0) return false;
        if (--cpu->Budget >= 0) return true;
        Stop.Because(cpu, op, StopReason.BudgetSpent);
        return false;
    }

    static bool IsEmpty(Cpu* cpu, Op* op) => op->Extra != (byte)Repeat.None && cpu->Rcx == 0;

    static bool MoveAll<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        ulong size = (ulong)TWidth.Size, count;
        do
        {
            count = Piece(cpu, op, size, cpu->Rsi, cpu->Rdi);
            byte* from = TMode.TranslateNow(cpu, op, cpu->Rsi, (int)(count * size), PageAccess.Read);
            if (from == null) return false;
            byte* to = TMode.TranslateNow(cpu, op, cpu->Rdi, (int)(count * size), PageAccess.Write);
            if (to == null) return false;
            CopyElements<TWidth>(from, to, count);
            if (!IsTaken(cpu, op)) return false;
            cpu->Rsi += Advance(cpu, count * size);
            cpu->Rdi += Advance(cpu, count * size);
        }
        while (Continues(cpu, op, count));
        return cpu->Stop == StopReason.None;
    }

    /// <summary>What went to a device is written there; false when that is a fault.</summary>
    static bool IsTaken(Cpu* cpu, Op* op)
    {
        if (cpu->PendingSize == 0 || DeviceAccess.Complete(cpu)) return true;
        Stop.Fault(cpu, op, cpu->PendingAddress, PageAccess.Write);
        return false;
    }

    static bool InputAll<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        do
        {
            byte* to = TMode.TranslateNow(cpu, op, cpu->Rdi, TWidth.Size, PageAccess.Write);
            if (to == null) return false;
            cpu->Rip = cpu->CodeBase + op->Offset;
            TWidth.Store(to, cpu->OnPortRead(cpu, (ushort)cpu->Rdx, TWidth.Size));
            if (!IsTaken(cpu, op)) return false;
            cpu->Rdi += Advance(cpu, (ulong)TWidth.Size);
        }
        while (Continues(cpu, op, 1));
        return cpu->Stop == StopReason.None;
    }

    static bool OutputAll<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        do
        {
            byte* from = TMode.TranslateNow(cpu, op, cpu->Rsi, TWidth.Size, PageAccess.Read);
            if (from == null) return false;
            cpu->Rip = cpu->CodeBase + op->Offset;
            cpu->OnPortWrite(cpu, (ushort)cpu->Rdx, TWidth.Size, TWidth.Load(from));
            cpu->Rsi += Advance(cpu, (ulong)TWidth.Size);
        }
        while (Continues(cpu, op, 1));
        return cpu->Stop == StopReason.None;
    }

    /// <summary>Element after element, as the hardware does: a destination just behind the source repeats a pattern.</summary>
    static void CopyElements<TWidth>(byte* from, byte* to, ulong count) where TWidth : struct, IWidth
    {
        ulong bytes = count * (ulong)TWidth.Size;
        if ((nuint)to - (nuint)from >= bytes)
        {
            Buffer.MemoryCopy(from, to, bytes, bytes);
            return;
        }
        for (ulong i = 0; i < bytes; i += (ulong)TWidth.Size) TWidth.Store(to + i, TWidth.Load(from + i));
    }

    static bool StoreAll<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        ulong size = (ulong)TWidth.Size, count;
        do
        {
            count = Piece(cpu, op, size, cpu->Rdi, cpu->Rdi);
            byte* to = TMode.TranslateNow(cpu, op, cpu->Rdi, (int)(count * size), PageAccess.Write);
            if (to == null) return false;
            for (ulong i = 0; i < count; i++) TWidth.Store(to + i * size, cpu->Rax);
            if (!IsTaken(cpu, op)) return false;
            cpu->Rdi += Advance(cpu, count * size);
        }
        while (Continues(cpu, op, count));
        return cpu->Stop == StopReason.None;
    }

    static bool LoadAll<TWidth>(Cpu* cpu, Op* op) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        do
        {
            byte* from = TMode.TranslateNow(cpu, op, cpu->Rsi, TWidth.Size, PageAccess.Read);
            if (from == null) return false;
            TWidth.StoreRegister((byte*)&cpu->Rax, TWidth.Load(from));
            cpu->Rsi += Advance(cpu, (ulong)TWidth.Size);
        }
        while (Continues(cpu, op, 1));
        return cpu->Stop == StopReason.None;
    }

    static bool CompareAll<TWidth>(Cpu* cpu, Op* op, bool scan) where TWidth : struct, IWidth
    {
        if (IsEmpty(cpu, op)) return true;
        ulong left, right;
        do
        {
            byte* first = scan ? (byte*)&cpu->Rax : TMode.TranslateNow(cpu, op, cpu->Rsi, TWidth.Size, PageAccess.Read);
            if (first == null) return false;
            byte* second = TMode.TranslateNow(cpu, op, cpu->Rdi, TWidth.Size, PageAccess.Read);
            if (second == null) return false;
            left = TWidth.Load(first);
            right = TWidth.Load(second);
            ulong difference = left - right;
            cpu->Flags.Result = TWidth.Extend(difference);
            cpu->Flags.Aux = TWidth.Aux(Carry.OfDifference(left, right, difference));
            if (!scan) cpu->Rsi += Advance(cpu, (ulong)TWidth.Size);
            cpu->Rdi += Advance(cpu, (ulong)TWidth.Size);
        }
        while (Continues(cpu, op, 1, left == right));
        return cpu->Stop == StopReason.None;
    }

    static bool Continues(Cpu* cpu, Op* op, ulong done, bool equal)
    {
        if (op->Extra == (byte)Repeat.None || equal == (op->Extra == (byte)Repeat.WhileEqual)) return Continues(cpu, op, done);
        cpu->Rcx -= done;
        return false;
    }

    public static bool TryEmit(Chain chain, in Instruction instruction)
    {
        if (!instruction.IsStringInstruction || instruction.SegmentPrefix is Register.FS or Register.GS) return false;
        int size = instruction.Mnemonic switch
        {
            Mnemonic.Movsb or Mnemonic.Stosb or Mnemonic.Lodsb or Mnemonic.Cmpsb or Mnemonic.Scasb
                or Mnemonic.Insb or Mnemonic.Outsb => 1,
            Mnemonic.Movsw or Mnemonic.Stosw or Mnemonic.Lodsw or Mnemonic.Cmpsw or Mnemonic.Scasw
                or Mnemonic.Insw or Mnemonic.Outsw => 2,
            Mnemonic.Movsd or Mnemonic.Stosd or Mnemonic.Lodsd or Mnemonic.Cmpsd or Mnemonic.Scasd
                or Mnemonic.Insd or Mnemonic.Outsd => 4,
            Mnemonic.Movsq or Mnemonic.Stosq or Mnemonic.Lodsq or Mnemonic.Cmpsq or Mnemonic.Scasq => 8,
            _ => 0,
        };
        if (size == 0 || !UsesWholeRegisters(instruction)) return false;
        ref Op op = ref chain.Add(instruction);
        op.Handler = size switch
        {
            1 => Select<W8>(instruction),
            2 => Select<W16>(instruction),
            4 => Select<W32>(instruction),
            _ => Select<W64>(instruction),
        };
        bool compares = instruction.RflagsWritten != RflagsBits.None;
        op.Extra = (byte)(!instruction.HasRepPrefix && !instruction.HasRepnePrefix ? Repeat.None
            : !compares ? Repeat.While : instruction.HasRepnePrefix ? Repeat.WhileNotEqual : Repeat.WhileEqual);
        return true;
    }

    static bool UsesWholeRegisters(in Instruction instruction)
    {
        for (int i = 0; i < instruction.OpCount; i++)
        {
            if (instruction.GetOpKind(i) is OpKind.MemorySegEDI or OpKind.MemorySegESI or OpKind.MemoryESEDI) return false;
        }
        return true;
    }

    static Handler Select<TWidth>(in Instruction instruction) where TWidth : struct, IWidth => instruction.Mnemonic switch
    {
        Mnemonic.Movsb or Mnemonic.Movsw or Mnemonic.Movsd or Mnemonic.Movsq => &Move<TWidth>,
        Mnemonic.Stosb or Mnemonic.Stosw or Mnemonic.Stosd or Mnemonic.Stosq => &Store<TWidth>,
        Mnemonic.Lodsb or Mnemonic.Lodsw or Mnemonic.Lodsd or Mnemonic.Lodsq => &Load<TWidth>,
        Mnemonic.Cmpsb or Mnemonic.Cmpsw or Mnemonic.Cmpsd or Mnemonic.Cmpsq => &Compare<TWidth>,
        Mnemonic.Insb or Mnemonic.Insw or Mnemonic.Insd => &Input<TWidth>,
        Mnemonic.Outsb or Mnemonic.Outsw or Mnemonic.Outsd => &Output<TWidth>,
        _ => &Scan<TWidth>,
    };
}
