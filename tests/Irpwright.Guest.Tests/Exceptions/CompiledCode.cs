using Iced.Intel;
using Irpwright.Guest.Images;
using Irpwright.Guest.Tests.Images;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Exceptions;

/// <summary>A guarded range as __C_specific_handler's table lists it.</summary>
/// <param name="Handler">Filter or termination handler; null for the constant EXCEPTION_EXECUTE_HANDLER.</param>
/// <param name="Target">The __except block; null for __finally.</param>
sealed record Scope(Label Begin, Label End, Label? Handler, Label? Target);

/// <summary>An operation of a prolog: offset behind it, UWOP_*, its argument, and further slots.</summary>
sealed record Step(int At, int Operation, int Argument, params ushort[] More)
{
    public static Step Push(int at, Register register) => new(at, 0, Number(register));

    public static Step Allocate(int at, int size) => new(at, 2, (size - 8) / 8);

    public static Step AllocateLarge(int at, int size) => new(at, 1, 0, (ushort)(size / 8));

    public static Step SetFrame(int at) => new(at, 3, 0);

    public static Step Save(int at, Register register, int offset) => new(at, 4, Number(register), (ushort)(offset / 8));

    public static Step SaveXmm(int at, int register, int offset) => new(at, 8, register, (ushort)(offset / 16));

    static int Number(Register register) => register - Register.RAX;
}

/// <summary>A row of the exception table with its unwind information. Steps come last first, as in the image.</summary>
sealed record Row(Label Begin, Label End, int Prolog, Step[] Steps)
{
    public Register Frame { get; init; }

    public int FrameOffset { get; init; }

    /// <summary>A language handler of the code's own; by default __C_specific_handler, if there are scopes.</summary>
    public Label? Handler { get; init; }

    public Scope[] Scopes { get; init; } = [];

    public Row? Parent { get; init; }
}

/// <summary>Assembled code with an exception table, loaded in a machine.</summary>
sealed class CompiledCode : IDisposable
{
    readonly ImageBuilder builder = new();
    readonly Assembler assembler = new(64);
    readonly List<Row> rows = [];
    readonly Dictionary<string, Label> functions = [];
    readonly Dictionary<string, ulong> addresses = [];
    readonly DriverImageLoader loader;
    Label specificHandler;
    (Label Label, int Count) lastLabel;
    DriverImage? image;

    public CompiledCode(MachineOptions? options = null)
    {
        Machine = new Machine((options ?? new MachineOptions()) with { ChecksMemory = CheckedMode.Here });
        loader = new DriverImageLoader(Machine);
        Machine.Guest = new GuestProcessor(Machine) { ImageAt = loader.ImageAt };
    }

    public Machine Machine { get; }

    public DriverImage Image => image!;

    public ulong AddressOf(string name) => addresses[name];

    /// <summary>Assembles and loads.</summary>
    /// <param name="write">Gets the assembler, and this; names code with <see cref="Name"/>.</param>
    public CompiledCode Build(Action<Assembler, CompiledCode> write, params string[] imports)
    {
        builder.Imports(("ntoskrnl.exe", [.. imports, "__C_specific_handler"]));
        uint textRva = builder.NextRva;
        write(assembler, this);
        specificHandler = Here();
        assembler.AddInstruction(Instruction.Create(Code.Jmp_rm64, new MemoryOperand(Register.RIP, (long)(builder.ImageBase + builder.SlotOf("__C_specific_handler")))));
        using var bytes = new MemoryStream();
        AssemblerResult result = assembler.Assemble(new StreamCodeWriter(bytes), builder.ImageBase + textRva, BlockEncoderOptions.ReturnNewInstructionOffsets);
        uint Rva(Label label) => (uint)(result.GetLabelRIP(label) - builder.ImageBase);
        builder.EntryPoint = textRva;
        builder.Section(".text", ImageBuilder.Code, bytes.ToArray());
        WriteTables(Rva);
        Assert.True(PortableExecutable.TryRead("code.sys", builder.Build(), out PortableExecutable? file, out ImageDiagnostic? error), error?.ToString());
        Assert.True(loader.TryLoad(file, out image, out error), error?.ToString());
        Assert.Empty(image.UnsupportedImports);
        foreach ((string name, Label label) in functions) addresses[name] = image.Base + Rva(label);
        return this;
    }

    /// <summary>Names the code that follows.</summary>
    public Label Name(string name)
    {
        Label label = Here();
        functions[name] = label;
        return label;
    }

    /// <summary>A label that is placed now.</summary>
    public Label Here()
    {
        if (lastLabel.Count == assembler.Instructions.Count && lastLabel.Label.Id != 0) return lastLabel.Label;
        Label label = assembler.CreateLabel();
        assembler.Label(ref label);
        lastLabel = (label, assembler.Instructions.Count);
        return label;
    }

    public void Call(string import) =>
        assembler.AddInstruction(Instruction.Create(Code.Call_rm64, new MemoryOperand(Register.RIP, (long)(builder.ImageBase + builder.SlotOf(import)))));

    public Row Table(Row row)
    {
        rows.Add(row);
        return row;
    }

    void WriteTables(Func<Label, uint> rva)
    {
        uint start = builder.NextRva;
        var data = new List<byte>();
        var infos = new Dictionary<Row, uint>();
        uint Info(Row row)
        {
            if (infos.TryGetValue(row, out uint known)) return known;
            uint parent = row.Parent is null ? 0 : Info(row.Parent);
            while (data.Count % 4 != 0) data.Add(0);
            infos[row] = start + (uint)data.Count;
            bool handled = row.Scopes.Length > 0 || row.Handler is not null;
            byte[] codes = [.. row.Steps.SelectMany(step => (byte[])[(byte)step.At, (byte)(step.Operation | step.Argument << 4), .. step.More.SelectMany(BitConverter.GetBytes)])];
            int frame = row.Frame == Register.None ? 0 : row.Frame - Register.RAX;
            data.AddRange([(byte)(1 | (row.Parent is not null ? 4 : handled ? 3 : 0) << 3), (byte)row.Prolog, (byte)(codes.Length / 2), (byte)(frame | row.FrameOffset / 16 << 4), .. codes]);
            if (codes.Length % 4 != 0) data.AddRange([0, 0]);
            if (row.Parent is not null) Add(rva(row.Parent.Begin), rva(row.Parent.End), parent);
            if (handled) Add(rva(row.Handler ?? specificHandler));
            if (row.Scopes.Length > 0) Add((uint)row.Scopes.Length);
            foreach (Scope scope in row.Scopes)
                Add(rva(scope.Begin), rva(scope.End), scope.Handler is { } handler ? rva(handler) : 1, scope.Target is { } target ? rva(target) : 0);
            return infos[row];
        }
        void Add(params uint[] values) => data.AddRange(ImageBuilder.Doublewords(values));

        foreach (Row row in rows) Info(row);
        builder.Section(".xdata", ImageBuilder.ReadOnlyData, [.. data, 0, 0, 0, 0]);
        builder.Functions([.. rows.OrderBy(row => rva(row.Begin)).SelectMany(row => (uint[])[rva(row.Begin), rva(row.End), Info(row)])]);
    }

    /// <summary>Calls a function on a user thread.</summary>
    public ulong Call(string function, ulong rcx, ulong rdx = 0, ulong r8 = 0, ulong r9 = 0) =>
        Machine.Run(() => Machine.Code.Invoke(AddressOf(function), rcx, rdx, r8, r9));

    public void Dispose() => Machine.Dispose();
}
