using System.CommandLine;
using Irpwright.Guest;
using Irpwright.Guest.Images;
using Irpwright.Kernel;

namespace Irpwright.Cli;

/// <summary><c>irpwright inspect</c>.</summary>
static class InspectCommand
{
    public const string Examples = """
        Shows imports and whether they are supported, sections, exports, symbols, device names and I/O control codes;
        with --exports instead what drivers can import here.

        Examples:
          irpwright inspect queue.sys
          irpwright inspect queue.sys --json | jq .controlCodes
          irpwright inspect --exports --json | jq -r .exports[].name
        """;

    public static Command Create(Terminal terminal)
    {
        var driver = new Argument<string?>("DRIVER") { Description = "A .sys file", Arity = ArgumentArity.ZeroOrOne };
        var exports = new Option<bool>("--exports") { Description = "List the kernel routines and variables that drivers can import" };
        var json = new Option<bool>("--json") { Description = "Print JSON" };
        var command = new Command("inspect", "Show what can be told about a compiled driver without running it.")
        {
            driver, exports, json,
        };
        command.SetAction(parsed =>
        {
            bool asJson = parsed.GetValue(json);
            switch (parsed.GetValue(driver), parsed.GetValue(exports))
            {
                case (null, true): ShowExports(terminal, asJson); break;
                case ({ } path, false): ShowImage(terminal, path, asJson); break;
                default: throw CommandException.BadInput("Name either a driver or --exports. See 'irpwright inspect --help'.");
            }
            return ExitCode.Clean;
        });
        return command;
    }

    static void ShowImage(Terminal terminal, string path, bool asJson)
    {
        if (!PortableExecutable.TryReadFile(path, out PortableExecutable? image, out ImageDiagnostic? error))
            throw CommandException.BadInput(error.ToString());
        using var machine = new Machine();
        var drivers = new GuestDrivers(machine);
        // Placing it finds the export drivers beside it.
        drivers.TryRead(path, out _, out ImageDiagnostic? refusal);
        ImageReport report = ImageReport.Create(image, drivers.IsSupported) with { Refusal = refusal };
        foreach (ImageDiagnostic warning in image.Warnings) terminal.Complain($"warning: {warning}");
        if (asJson) terminal.Output.Write(ImageJson.Of(report).Serialize());
        else new ImageText(terminal.Output, report).Write();
    }

    static void ShowExports(Terminal terminal, bool asJson)
    {
        using var machine = new Machine();
        var exports = ExportsJson.Of(machine);
        if (asJson) terminal.Output.Write(exports.Serialize());
        else exports.WriteTable(terminal.Output);
    }
}
