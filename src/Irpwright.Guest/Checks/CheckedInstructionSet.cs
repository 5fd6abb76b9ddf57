using Iced.Intel;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;

namespace Irpwright.Guest.Checks;

/// <summary>
/// The instructions of checked mode: the same handlers, each with an operation before it that looks at what it is about to do. Without
/// checked mode there are no such operations, so it costs nothing.
/// </summary>
sealed unsafe class CheckedInstructionSet<TMode>(MemoryChecks checks) : IInstructionSet where TMode : struct, IMode
{
    readonly InstructionSet<TMode> instructions = new();
    readonly InstructionInfoFactory factory = new();

    public bool EndsAtBranches => true;
    public Handler Trap => &Screen<TMode>.Trap;
    public Handler Thunk => &Screen<TMode>.Thunk;
    public Handler Link => instructions.Link;
    public Handler Jump => instructions.Jump;
    public Handler Stale => instructions.Stale;
    public Handler Miss => instructions.Miss;
    public delegate*<Cpu*, ulong, Op*> Unknown => instructions.Unknown;
    public Handler BeforeInterlocked => instructions.BeforeInterlocked;

    public int Emit(Chain chain, ReadOnlySpan<Instruction> run, ReadOnlySpan<uint> live)
    {
        ref readonly Instruction instruction = ref run[0];
        if ((checks.Shadow[instruction.IP] & ByteState.Pageable) != 0) chain.Add(instruction).Handler = &Screen<TMode>.PageableCode;
        InspectionPlan* plan = EmitCheck(chain, instruction);
        int taken = instructions.Emit(chain, run, live);
        if (taken == 2 && plan != null) plan->JumpFollows = true;
        if (LowersStack(instruction))
        {
            ref Op behind = ref chain.Add(instruction);
            behind.Offset += (uint)instruction.Length;
            behind.Handler = &Screen<TMode>.FollowStack;
        }
        return taken;
    }

    /// <summary>Instructions that make room on the stack by more than a push. (A driver that changes to another stack is not one.)</summary>
    static bool LowersStack(in Instruction instruction) => instruction.Op0Kind == OpKind.Register && instruction.Op0Register == Register.RSP
        && (instruction.Mnemonic is Mnemonic.And || instruction.Mnemonic is Mnemonic.Sub && !IsConstant(instruction)
            || instruction.Mnemonic is Mnemonic.Lea && instruction.MemoryBase == Register.RSP);

    static bool IsConstant(in Instruction instruction) => OperandEncoding.IsImmediate(instruction.Op1Kind);

    InspectionPlan* EmitCheck(Chain chain, in Instruction instruction)
    {
        switch (instruction.Mnemonic)
        {
            case Mnemonic.Push when instruction.StackPointerIncrement == -8 && instruction.Op0Kind != OpKind.Memory:
                chain.Add(instruction).Handler = &Screen<TMode>.Push;
                chain.Last.Source = instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR()
                    ? OperandEncoding.OffsetOf(instruction.Op0Register) : (ushort)Cpu.ZeroOffset;
                return null;
            case Mnemonic.Pushfq:
                chain.Add(instruction).Handler = &Screen<TMode>.Push;
                chain.Last.Source = Cpu.ZeroOffset;
                return null;
            case Mnemonic.Pop when instruction.StackPointerIncrement == 8 && instruction.Op0Kind == OpKind.Register && instruction.Op0Register.IsGPR64():
                chain.Add(instruction).Handler = &Screen<TMode>.Pop;
                chain.Last.Destination = OperandEncoding.OffsetOf(instruction.Op0Register);
                return null;
            case Mnemonic.Ret:
                chain.Add(instruction).Handler = &Screen<TMode>.Return;
                chain.Last.Immediate = (ulong)(Handler)(&Screen<TMode>.LeaveFrame);
                return null;
            case Mnemonic.Sub when instruction.Op0Kind == OpKind.Register && instruction.Op0Register == Register.RSP && IsConstant(instruction):
                chain.Add(instruction).Handler = &Screen<TMode>.Lower;
                chain.Last.Immediate = instruction.GetImmediate(1);
                return null;
            case Mnemonic.Call or Mnemonic.Jmp when instruction.Op0Kind == OpKind.NearBranch64:
            case Mnemonic.INVALID:
                return null;
        }
        if (LowersStack(instruction))
        {
            chain.Add(instruction).Handler = &Screen<TMode>.NoteStack;
            return null;
        }
        InspectionPlan* plan = checks.NewPlan();
        plan->Inspect = &Screen<TMode>.Inspect;
        bool isComplete = plan->TryFill(instruction, factory);
        if (instruction.IsJccShortOrNear) Add(chain, instruction, plan, &Screen<TMode>.Condition);
        else if (instruction.IsStringInstruction || !isComplete) Add(chain, instruction, plan, &Screen<TMode>.Inspect);
        else if (plan->ReadsMemory || plan->WritesMemory) EmitMemory(chain, instruction, plan);
        else if (plan->InputCount + plan->OutputCount > 0 || plan->ReadsFlags || plan->WritesFlags) EmitRegisters(chain, instruction, plan);
        return plan;
    }

    static void Add(Chain chain, in Instruction instruction, InspectionPlan* plan, Handler handler)
    {
        ref Op op = ref chain.Add(instruction);
        op.Handler = handler;
        op.Target = (Op*)plan;
    }

    /// <summary>Registers that must be in good order, each once.</summary>
    ref struct Needs
    {
        fixed ushort offsets[2 * InspectionPlan.Most + 1];

        public int Count { get; private set; }

        public ushort this[int i] => i < Count ? offsets[i] : (ushort)Cpu.ZeroOffset;

        public void Add(ushort offset)
        {
            if (offset < Cpu.ZeroOffset) offset &= 0xFFF8;
            for (int i = 0; i < Count; i++)
            {
                if (offsets[i] == offset) return;
            }
            offsets[Count++] = offset;
        }
    }

    /// <summary>
    /// What the screen has to look at, and the one register that it may simply call written: others must be in good order before, and are
    /// afterwards.
    /// </summary>
    static Needs NeedsOf(InspectionPlan* plan, out ushort result, out bool resultIsVector)
    {
        var needs = new Needs();
        result = CheckState.NowhereOffset;
        resultIsVector = false;
        for (int i = 0; i < plan->InputCount; i++) needs.Add(plan->Inputs[i]);
        if (plan->ReadsFlags) needs.Add(CheckState.FlagsOffset);
        for (int i = 0; i < plan->OutputCount; i++)
        {
            bool isWhole = plan->OutputSizes[i] >= 4 && result == CheckState.NowhereOffset;
            if (!isWhole)
            {
                needs.Add(plan->Outputs[i]);
                continue;
            }
            result = plan->Outputs[i];
            resultIsVector = result >= Cpu.XmmOffset;
        }
        return needs;
    }

    static void EmitRegisters(Chain chain, in Instruction instruction, InspectionPlan* plan)
    {
        Needs needs = NeedsOf(plan, out ushort result, out bool resultIsVector);
        bool mixes = plan->IsVector && result != CheckState.NowhereOffset && !resultIsVector;
        if (needs.Count > 3 || mixes)
        {
            Add(chain, instruction, plan, &Screen<TMode>.Inspect);
            return;
        }
        Add(chain, instruction, plan, plan->IsVector ? &Screen<TMode>.Registers<S16> : &Screen<TMode>.Registers<S8>);
        ref Op op = ref chain.Last;
        (op.Source, op.Base, op.Index, op.Destination) = (needs[0], needs[1], needs[2], result);
        op.Immediate = plan->WritesFlags ? CheckState.FlagsOffset : CheckState.NowhereOffset;
    }

    void EmitMemory(Chain chain, in Instruction instruction, InspectionPlan* plan)
    {
        ref Op op = ref chain.AddWithMemory<TMode>(instruction);
        op.Target = (Op*)plan;
        op.Handler = &Screen<TMode>.Inspect;
        // Which byte of memory a bit lies in depends on its number.
        if (instruction.Mnemonic is Mnemonic.Bt or Mnemonic.Bts or Mnemonic.Btr or Mnemonic.Btc or Mnemonic.Xlatb or Mnemonic.Maskmovdqu) return;
        Needs needs = NeedsOf(plan, out ushort result, out bool resultIsVector);
        ushort source = Cpu.ZeroOffset;
        int others = 0;
        for (int i = 0; i < needs.Count; i++)
        {
            if (needs[i] == op.Base || needs[i] == op.Index) continue;
            source = needs[i];
            others++;
        }
        bool vectorSource = source >= Cpu.XmmOffset;
        if (others > 1) return;
        Handler handler;
        if (plan->ReadsMemory)
        {
            if (vectorSource) return;
            handler = SelectLoad(plan->MemorySize, op.Index == Cpu.ZeroOffset, resultIsVector);
        }
        else
        {
            if (result != CheckState.NowhereOffset || plan->WritesFlags) return;
            handler = SelectStore(plan->MemorySize, op.Index == Cpu.ZeroOffset, vectorSource);
        }
        if (handler == null) return;
        op.Handler = handler;
        op.Source = source;
        op.Destination = result;
        op.Immediate = plan->WritesFlags ? CheckState.FlagsOffset : CheckState.NowhereOffset;
    }

    static Handler SelectLoad(int size, bool near, bool toVector) => near
        ? toVector ? SelectLoad<NearPlace, S16>(size) : SelectLoad<NearPlace, S8>(size)
        : toVector ? SelectLoad<FarPlace, S16>(size) : SelectLoad<FarPlace, S8>(size);

    static Handler SelectLoad<TPlace, TResult>(int size) where TPlace : struct, IPlace where TResult : struct, IStateSize => size switch
    {
        1 => &Screen<TMode>.Load<S1, TPlace, TResult>,
        2 => &Screen<TMode>.Load<S2, TPlace, TResult>,
        4 => &Screen<TMode>.Load<S4, TPlace, TResult>,
        8 => &Screen<TMode>.Load<S8, TPlace, TResult>,
        16 => &Screen<TMode>.Load<S16, TPlace, TResult>,
        _ => null,
    };

    static Handler SelectStore(int size, bool near, bool fromVector) => near
        ? fromVector ? SelectStore<NearPlace, S16>(size) : SelectStore<NearPlace, S8>(size)
        : fromVector ? SelectStore<FarPlace, S16>(size) : SelectStore<FarPlace, S8>(size);

    static Handler SelectStore<TPlace, TSource>(int size) where TPlace : struct, IPlace where TSource : struct, IStateSize => size switch
    {
        1 => &Screen<TMode>.Store<S1, TPlace, TSource>,
        2 => &Screen<TMode>.Store<S2, TPlace, TSource>,
        4 => &Screen<TMode>.Store<S4, TPlace, TSource>,
        8 => &Screen<TMode>.Store<S8, TPlace, TSource>,
        16 => &Screen<TMode>.Store<S16, TPlace, TSource>,
        _ => null,
    };
}
